import { parentPort } from 'node:worker_threads';
import { NearfarError, serializeError } from '../../core/index.ts';
import type { FromImageWorker, ToImageWorker } from './image-protocol.ts';
import { prepareImageHere } from './prepare-image.ts';

// The entry of the image worker: one picture after the other, so that no more than one lies decoded in memory.

const port = parentPort;
if (!port) throw new NearfarError('failed-precondition', 'image-worker is started as a worker thread');

const calls = new Map<number, AbortController>();
let tail: Promise<void> = Promise.resolve();

function post(message: FromImageWorker, transfer: ArrayBuffer[] = []): void {
  port?.postMessage(message, transfer);
}

async function prepare({ callId, bytes, input }: Extract<ToImageWorker, { type: 'prepare' }>, signal: AbortSignal): Promise<void> {
  try {
    const image = await prepareImageHere(bytes, input, { signal });
    // A copy: an image that needed no resizing may lie in the decoder's own buffer, which cannot be moved.
    const data = new Uint8Array(image.data);
    post({ type: 'image', callId, image: { ...image, data } }, [data.buffer]);
  } catch (error) {
    // Whoever cancelled it listens no more.
    if (!signal.aborted) post({ type: 'failure', callId, error: serializeError(error) });
  } finally {
    calls.delete(callId);
  }
}

port.on('message', (message: ToImageWorker) => {
  if (message.type === 'cancel') return calls.get(message.callId)?.abort();
  const controller = new AbortController();
  calls.set(message.callId, controller);
  tail = tail.then(() => prepare(message, controller.signal));
});

import { setImmediate } from 'node:timers/promises';
import { parentPort } from 'node:worker_threads';
import { NearfarError, serializeError } from '../core/index.ts';
import type { FromCallWorker, ToCallWorker } from './call-protocol.ts';

/** An answer and the buffers that move with it. */
export interface PackedAnswer<Answer> {
  readonly answer: Answer;
  readonly transfer: readonly ArrayBuffer[];
}

/** The worker's side of a CallThread: answers one call after the other, so that no more than one takes memory. */
export function serveCalls<Request, Answer>(
  answer: (request: Request, signal: AbortSignal) => PackedAnswer<Answer> | Promise<PackedAnswer<Answer>>,
): void {
  const port = parentPort;
  if (!port) throw new NearfarError('failed-precondition', 'this is the file of a worker thread');
  const calls = new Map<number, AbortController>();
  const post = (message: FromCallWorker<Answer>, transfer: readonly ArrayBuffer[] = []) => port.postMessage(message, transfer);

  const serve = async (callId: number, request: Request, signal: AbortSignal) => {
    try {
      // Lets in what was cancelled while the call before held up this thread.
      await setImmediate();
      signal.throwIfAborted();
      const packed = await answer(request, signal);
      post({ type: 'answer', callId, answer: packed.answer }, packed.transfer);
    } catch (error) {
      // Whoever cancelled it listens no more.
      if (!signal.aborted) post({ type: 'failure', callId, error: serializeError(error) });
    } finally {
      calls.delete(callId);
    }
  };

  let tail: Promise<void> = Promise.resolve();
  port.on('message', (message: ToCallWorker<Request>) => {
    if (message.type === 'cancel') return calls.get(message.callId)?.abort();
    const { callId, request } = message;
    const controller = new AbortController();
    calls.set(callId, controller);
    tail = tail.then(() => serve(callId, request, controller.signal));
  });
}

import { Session } from 'node:inspector';
import { setImmediate as nextTask } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { type BackendId, type Engine, NearfarError, type SerializedError, serializeError, type TensorMap } from '../../core/index.ts';
import { openEngine } from '../../engines/index.ts';
import { openNodePlatform } from '../../engines/node/index.ts';
import { packTensors } from '../transfer.ts';
import { type EngineCall, type EngineCalls, type EngineWorkerData, type FromWorker, sharedNow, type ToWorker } from './engine-protocol.ts';
import { type LoadedVersion, loadVersion } from './load-version.ts';

// The entry of an engine worker: it owns the engines and everything loaded on them, so that no computation ever runs on the
// server's event loop.

const port = parentPort;
if (!port) throw new NearfarError('failed-precondition', 'engine-worker is started as a worker thread');

const options: EngineWorkerData = workerData;
const platform = await openNodePlatform(options);
const engines = new Map<BackendId, Promise<Engine>>();
const versions = new Map<number, LoadedVersion>();
const calls = new Map<number, AbortController>();
const closing = new AbortController();

/** A backend that cannot be had stays so: it is asked for once in the life of a worker. */
function openBackend(backend: BackendId): Promise<Engine> {
  const known = engines.get(backend);
  if (known) return known;
  const opening = openEngine(backend, platform);
  engines.set(backend, opening);
  void opening.then(
    (engine) => void engine.lost.then((reason) => forgetEngine(backend, engine, reason)),
    () => {},
  );
  return opening;
}

function forgetEngine(backend: BackendId, engine: Engine, reason: string): void {
  engines.delete(backend);
  const ids = [...versions].filter(([, version]) => version.engine === engine).map(([id]) => id);
  for (const id of ids) versions.delete(id);
  post({ type: 'lost', ids, backend, reason });
  void engine[Symbol.asyncDispose]();
}

/** One piece of work at a time; the pause before each lets in the messages that came meanwhile, cancellations above all. */
function createQueue(): <T>(work: () => Promise<T>) => Promise<T> {
  let tail: Promise<unknown> = Promise.resolve();
  return (work) => {
    const result = tail.then(() => nextTask()).then(work);
    tail = result.catch(() => {});
    return result;
  };
}

const queueLoad = createQueue();
const queueRun = createQueue();

/** The memory of tensors, less what moves already: an engine may give an input back as an output. */
function buffersOf(tensors: TensorMap, moving: readonly ArrayBuffer[]): ArrayBuffer[] {
  const buffers = new Set<ArrayBuffer>();
  for (const tensor of Object.values(tensors)) {
    if (tensor.dtype === 'string') continue;
    const { buffer } = tensor.data;
    if (buffer instanceof ArrayBuffer && !moving.includes(buffer)) buffers.add(buffer);
  }
  return [...buffers];
}

/** Nothing waits for a worker that serves nothing: what a version left behind goes now, not when V8 finds that it has grown. */
async function collectGarbage(): Promise<void> {
  const session = new Session();
  session.connect();
  await new Promise<void>((resolve) => session.post('HeapProfiler.collectGarbage', () => resolve()));
  session.disconnect();
}

type Handlers = {
  readonly [M in keyof EngineCalls]: (
    request: EngineCalls[M]['request'],
    signal: AbortSignal,
  ) => Promise<{ readonly answer: EngineCalls[M]['answer']; readonly transfer?: ArrayBuffer[] }>;
};

const handlers: Handlers = {
  load: (request, signal) =>
    queueLoad(async () => {
      const version = await loadVersion(request, openBackend, AbortSignal.any([signal, closing.signal]));
      versions.set(request.id, version);
      return { answer: version.answer };
    }),
  run: ({ id, request, returnsInputs }, signal) =>
    queueRun(async () => {
      signal.throwIfAborted();
      closing.signal.throwIfAborted();
      const version = versions.get(id);
      if (!version) throw new NearfarError('unavailable', 'the version was lost with its engine');
      const startedAt = sharedNow();
      const outputs = await version.loaded.run(request, { signal });
      const inferMs = sharedNow() - startedAt;
      const { tensors, transfer } = packTensors(outputs);
      const returned = returnsInputs ? buffersOf(request.inputs, transfer) : [];
      return { answer: { outputs: tensors, startedAt, inferMs, returned }, transfer: [...transfer, ...returned] };
    }),
  unload: async ({ id }) => {
    const version = versions.get(id);
    versions.delete(id);
    await version?.loaded[Symbol.asyncDispose]();
    if (versions.size === 0) await collectGarbage();
    return { answer: null };
  },
};

function handle(call: EngineCall, signal: AbortSignal): ReturnType<Handlers[keyof Handlers]> {
  switch (call.method) {
    case 'load':
      return handlers.load(call.request, signal);
    case 'run':
      return handlers.run(call.request, signal);
    case 'unload':
      return handlers.unload(call.request, signal);
  }
}

function post(message: FromWorker, transfer: ArrayBuffer[] = []): void {
  port?.postMessage(message, transfer);
}

async function answer(callId: number, call: EngineCall): Promise<void> {
  const controller = new AbortController();
  calls.set(callId, controller);
  try {
    const { answer, transfer } = await handle(call, controller.signal);
    post({ type: 'answer', callId, answer }, transfer);
  } catch (error) {
    post({ type: 'failure', callId, error: toSerialized(error, controller.signal) });
  } finally {
    calls.delete(callId);
  }
}

function toSerialized(error: unknown, signal: AbortSignal): SerializedError {
  return signal.aborted ? { code: 'cancelled', message: 'nobody waits for the call any more' } : serializeError(error);
}

/** Native code is never interrupted: the thread ends by itself, because nothing is left in it that could keep it alive. */
async function close(): Promise<void> {
  closing.abort(new NearfarError('unavailable', 'the server is closing'));
  await Promise.all([queueLoad(async () => {}), queueRun(async () => {})]);
  for (const opening of engines.values()) {
    const engine = await opening.catch(() => undefined);
    await engine?.[Symbol.asyncDispose]();
  }
  port?.close();
}

port.on('message', (message: ToWorker) => {
  switch (message.type) {
    case 'call':
      return void answer(message.callId, message.call);
    case 'cancel':
      return calls.get(message.callId)?.abort();
    case 'close':
      return void close();
  }
});

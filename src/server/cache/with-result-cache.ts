import type { RunRequest, TensorMap } from '../../core/index.ts';
import type { BufferPool } from '../buffer-pool.ts';
import type { CacheOutcome, ServableHandle, ServableStore } from '../servables/index.ts';
import { requestKey } from './request-key.ts';
import type { CacheMetrics, Results } from './results.ts';
import { SharedRuns } from './shared-runs.ts';

export interface ResultCacheOptions {
  readonly results: Results;
  /** How long answers of a model are kept, in milliseconds; 0 keeps none, and joins none. */
  readonly ttlMsOf: (model: string) => number;
  /** Where the memory of inputs goes back that no engine takes. */
  readonly buffers: BufferPool;
  readonly metrics: Pick<CacheMetrics, 'recordLookup'>;
}

type Answer = Awaited<ReturnType<ServableHandle['run']>>;

/** Answers a request whose answer is known without a run, and lets equal requests share one run. Only successes are kept. */
export function withResultCache(store: ServableStore, options: ResultCacheOptions): ServableStore {
  const runs = new SharedRuns<Answer>();
  return {
    lend: (spec) => cachingHandle(store.lend(spec), runs, options),
    status: (spec) => store.status(spec),
    labels: (name) => store.labels(name),
    traffic: (name) => store.traffic(name),
    names: () => store.names(),
    isReady: (name) => store.isReady(name),
    watch: (listener) => store.watch(listener),
  };
}

function cachingHandle(handle: ServableHandle, runs: SharedRuns<Answer>, options: ResultCacheOptions): ServableHandle {
  const { results, ttlMsOf, buffers, metrics } = options;
  // A run that others wait for goes on when the caller who began it has gone: the version stays lent until it ends.
  let uses = 1;
  const release = () => {
    if (--uses === 0) handle[Symbol.dispose]();
  };
  let isReturned = false;
  const runAndKeep = async (key: string, request: RunRequest, kept: Promise<TensorMap | undefined> | undefined, signal: AbortSignal) => {
    uses++;
    try {
      const known = kept && (await kept);
      if (known) {
        giveBack(request.inputs, buffers);
        return answerOf(known, 'hit');
      }
      const answer = await handle.run(request, { signal });
      results.set(key, answer.outputs, ttlMsOf(handle.name));
      return { ...answer, timing: { ...answer.timing, cache: 'miss' as const } };
    } finally {
      release();
    }
  };

  return {
    ...handle,
    run: async (request, { signal }) => {
      const { signatures } = handle.manifest;
      const signature = Object.hasOwn(signatures, request.signature) ? signatures[request.signature] : undefined;
      // Of joined signatures the manifest does not tell; who asks for one names the outputs.
      const outputs = request.outputs ?? (signature && Object.keys(signature.outputs));
      if (!outputs || isReturned || !(ttlMsOf(handle.name) > 0)) return handle.run(request, { signal });
      signal?.throwIfAborted();
      const key = requestKey(handle.digest, { ...request, outputs });
      const isJoined = runs.isRunning(key);
      const kept = isJoined ? undefined : results.get(key);
      if (isJoined || (kept && !(kept instanceof Promise))) giveBack(request.inputs, buffers);
      const answer =
        kept && !(kept instanceof Promise)
          ? answerOf(kept, 'hit')
          : await runs.wait(key, (shared) => runAndKeep(key, request, kept, shared), signal);
      const cache = isJoined ? 'joined' : (answer.timing.cache ?? 'miss');
      metrics.recordLookup('result', handle.name, cache);
      return { outputs: inOrder(answer.outputs, outputs), timing: { ...answer.timing, cache } };
    },
    // A lookup may be one of Redis, and equal runs may be under way.
    runNow: handle.runNow && ((request) => (ttlMsOf(handle.name) > 0 || isReturned ? undefined : handle.runNow?.(request))),
    [Symbol.dispose]: () => {
      if (isReturned) return;
      isReturned = true;
      release();
    },
  };
}

function answerOf(outputs: TensorMap, cache: CacheOutcome): Answer {
  return { outputs, timing: { queueMs: 0, inferMs: 0, cache } };
}

/** The order of the outputs is the asker's, as it is when an engine runs. */
function inOrder(outputs: TensorMap, names: readonly string[]): TensorMap {
  return Object.fromEntries(names.flatMap((name) => (outputs[name] ? [[name, outputs[name]]] : [])));
}

function giveBack(inputs: TensorMap, buffers: BufferPool): void {
  for (const tensor of Object.values(inputs)) {
    if (tensor.dtype === 'string') continue;
    const { buffer } = tensor.data;
    // Tensors of one body share its buffer; the pool forgets a loan when it ends.
    if (buffer instanceof ArrayBuffer && buffers.isLent(buffer)) buffers.give(buffer);
  }
}

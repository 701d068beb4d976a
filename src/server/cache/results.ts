import type { AnyTensor, TensorMap } from '../../core/index.ts';
import type { Logger } from '../log.ts';
import type { CacheOutcome } from '../servables/index.ts';
import { ByteLru } from './byte-lru.ts';
import { openRedisResults, type RedisFailure, type RedisResults } from './redis-results.ts';

/** Where answers are kept. */
export interface Results extends AsyncDisposable {
  /** Whoever gets tensors shares them: they are never written to. */
  get(key: string): TensorMap | undefined | Promise<TensorMap | undefined>;
  set(key: string, outputs: TensorMap, ttlMs: number): void;
}

export interface CacheMetrics {
  recordLookup(cache: CacheName, model: string, outcome: CacheOutcome): void;
  recordRemoval(cache: CacheName, reason: 'budget' | 'expired'): void;
  setCacheBytes(cache: CacheName, bytes: number): void;
  recordRedisFailure(reason: RedisFailure): void;
}

export type CacheName = 'result' | 'input';

export interface ResultsOptions {
  /** Of the answers in this process; 0 keeps none here. */
  readonly budgetBytes: number;
  /** Answers that servers share. */
  readonly redisUrl: string | undefined;
  /** Longest time a request waits for Redis, in milliseconds. */
  readonly redisTimeoutMs: number;
  readonly metrics: CacheMetrics;
  readonly log: Logger;
  readonly now?: (() => number) | undefined;
}

/** Answers in memory, in Redis, or in memory in front of Redis. */
export function openResults({ budgetBytes, redisUrl, redisTimeoutMs, metrics, log, now }: ResultsOptions): Results {
  const memory = new ByteLru<TensorMap>({
    budgetBytes,
    now,
    onRemove: (reason) => metrics.recordRemoval('result', reason),
    onBytes: (bytes) => metrics.setCacheBytes('result', bytes),
  });
  const keep = (key: string, outputs: TensorMap, ttlMs: number) => {
    const own = ownTensors(outputs);
    memory.set(key, own, { bytes: bytesOf(own), ttlMs });
  };
  let redis: RedisResults | undefined;
  const opening =
    redisUrl === undefined
      ? undefined
      : openRedisResults({ url: redisUrl, lookupMs: redisTimeoutMs, log, onError: metrics.recordRedisFailure });
  void opening?.then((opened) => {
    redis = opened;
  });
  const fetch = async (from: RedisResults, key: string): Promise<TensorMap | undefined> => {
    const found = await from.get(key);
    if (found && budgetBytes > 0) keep(key, found.outputs, found.expiresAt - Date.now());
    return found?.outputs;
  };
  return {
    get: (key) => memory.get(key) ?? (redis ? fetch(redis, key) : undefined),
    set: (key, outputs, ttlMs) => {
      if (budgetBytes > 0) keep(key, outputs, ttlMs);
      redis?.set(key, outputs, ttlMs);
    },
    [Symbol.asyncDispose]: async () => {
      await (await opening)?.[Symbol.asyncDispose]();
    },
  };
}

/** Tensors that hold no more memory than their own: an output may be a part of a batch. */
function ownTensors(tensors: TensorMap): TensorMap {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, ownTensor(tensor)]));
}

function ownTensor(tensor: AnyTensor): AnyTensor {
  if (tensor.dtype === 'string') return { ...tensor, data: tensor.data.map((bytes) => new Uint8Array(bytes)) };
  const { data } = tensor;
  return data.byteLength === data.buffer.byteLength ? tensor : ({ ...tensor, data: data.slice() } as AnyTensor); // the union cannot see that slice() keeps the type
}

function bytesOf(tensors: TensorMap): number {
  let bytes = 0;
  for (const [name, tensor] of Object.entries(tensors)) {
    bytes += name.length + 8 * tensor.shape.length;
    if (tensor.dtype === 'string') for (const element of tensor.data) bytes += element.byteLength + stringBytes;
    else bytes += tensor.data.byteLength;
  }
  return bytes;
}

/** Of an element of a string tensor: a typed array and its buffer, about. */
const stringBytes = 200;

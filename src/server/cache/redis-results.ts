import { once } from 'node:events';
import type { RedisClientOptions } from '@redis/client';
import { NearfarError, type TensorMap } from '../../core/index.ts';
import type { Logger } from '../log.ts';
import { decodeResultValue, encodeResultValue, type ResultValue } from './result-value.ts';

export interface RedisResultsOptions {
  /** `redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS. */
  readonly url: string;
  readonly log: Logger;
  /** Longest time a request waits for Redis, in milliseconds; later is a miss. */
  readonly lookupMs: number;
  /** How long Redis is not asked after it failed to answer three times in a row, in milliseconds. @default 1000 */
  readonly pauseMs?: number | undefined;
  readonly onError: (reason: RedisFailure) => void;
}

/** `damaged`: a value that does not have its digest. */
export type RedisFailure = 'lookup' | 'store' | 'damaged';

/** Answers that servers share, and that outlive them. */
export interface RedisResults extends AsyncDisposable {
  /** @returns undefined, too, when Redis is down, late or holds damaged bytes. */
  get(key: string): Promise<ResultValue | undefined>;
  /** Does not wait for Redis. */
  set(key: string, outputs: TensorMap, ttlMs: number): void;
}

const keyPrefix = 'nearfar:result:';

/** One late answer may be a pause of either side; Redis that is down or overloaded fails these too. */
const failuresBeforePause = 3;

/** Larger answers cost the network more than most models cost the engine. */
const mostValueBytes = 16 * 2 ** 20;

/** Opens the connection in the background, again after each loss. @throws {NearfarError} `invalid-argument` for another kind of URL. */
export async function openRedisResults({ url, log, lookupMs, pauseMs = 1000, onError }: RedisResultsOptions): Promise<RedisResults> {
  const { createClient, RESP_TYPES } = await import('@redis/client');
  const options: RedisClientOptions = {
    url,
    // What Redis cannot take now is a miss now.
    disableOfflineQueue: true,
    commandsQueueMaxLength: 4096,
    socket: { connectTimeout: 5000, reconnectStrategy: (retries) => Math.min(100 * 2 ** retries, 5000) },
  };
  const client = createClient(options);
  const bytesClient = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
  let isUp: boolean | undefined;
  let isConnecting = true;
  client.on('reconnecting', () => {
    isConnecting = true;
  });
  client.on('ready', () => {
    isUp = true;
    isConnecting = false;
    log.info('the result cache in Redis is connected');
  });
  client.on('error', (error: Error) => {
    if (isUp !== false) log.warn({ reason: error.message }, 'the result cache in Redis is not there: every lookup is a miss');
    isUp = false;
    isConnecting = false;
  });
  client.connect().catch(() => {}); // told by the event
  let pausedUntil = 0;
  let failuresInARow = 0;
  const fail = (reason: RedisFailure) => {
    if (reason === 'lookup' && ++failuresInARow >= failuresBeforePause) pausedUntil = performance.now() + pauseMs;
    onError(reason);
  };
  const canAsk = () => client.isReady && performance.now() >= pausedUntil;

  return {
    get: async (key) => {
      if (!canAsk()) return undefined;
      try {
        const value = await within(lookupMs, bytesClient.get(keyPrefix + key));
        failuresInARow = 0;
        if (value === null) return undefined;
        const found = decodeResultValue(key, value);
        if (!found) fail('damaged');
        return found && found.expiresAt > Date.now() ? found : undefined;
      } catch {
        fail('lookup');
        return undefined;
      }
    },
    set: (key, outputs, ttlMs) => {
      if (!canAsk()) return;
      void (async () => {
        const value = encodeResultValue(key, { outputs, expiresAt: Date.now() + ttlMs });
        if (value.length > mostValueBytes) return;
        await client.set(keyPrefix + key, value, { expiration: { type: 'PX', value: Math.ceil(ttlMs) } });
      })().catch(() => fail('store'));
    },
    [Symbol.asyncDispose]: async () => {
      // A client that is destroyed while it connects keeps the connection that it then gets, and with it the process.
      if (isConnecting) await once(client, 'ready').catch(() => {});
      if (client.isOpen) client.destroy();
    },
  };
}

async function within<T>(limitMs: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new NearfarError('deadline-exceeded', `Redis did not answer within ${limitMs} ms`)), limitMs);
  });
  return Promise.race([work, limit]).finally(() => clearTimeout(timer));
}

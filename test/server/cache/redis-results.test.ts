import { createClient } from '@redis/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTensor, type TensorMap } from '../../../src/core/index.ts';
import { openRedisResults, type RedisResults } from '../../../src/server/cache/redis-results.ts';
import { decodeResultValue, encodeResultValue } from '../../../src/server/cache/result-value.ts';
import { createLog } from '../../../src/server/log.ts';
import { noRedis, type RedisServer, startRedis } from '../../support/redis.ts';
import { until } from '../../support/serving.ts';

if (noRedis !== undefined) console.warn(`skipped: ${noRedis}`);

const key = 'k'.repeat(64);
const outputs: TensorMap = {
  words: createTensor('string', [2], [new TextEncoder().encode('far'), new Uint8Array()]),
  y: createTensor('float32', [2, 2], Float32Array.from([1, Number.NaN, -0, 3e38])),
  n: createTensor('int64', [1], BigInt64Array.from([2n ** 62n])),
};

test('a value comes back as it was, and with any byte changed, cut off or moved to another key it does not', () => {
  const value = encodeResultValue(key, { outputs, expiresAt: 12_345 });

  expect(decodeResultValue(key, value)).toEqual({ outputs, expiresAt: 12_345 });
  expect(decodeResultValue('l'.repeat(64), value)).toBeUndefined();
  for (let index = 0; index < value.length; index++) {
    const damaged = Buffer.from(value);
    damaged[index]! ^= 1;
    expect(decodeResultValue(key, damaged)).toBeUndefined();
    expect(decodeResultValue(key, value.subarray(0, index))).toBeUndefined();
  }
});

describe.skipIf(noRedis !== undefined)('answers in a real Redis', () => {
  let redis: RedisServer;
  const failures: string[] = [];

  beforeAll(async () => {
    redis = await startRedis();
  });

  afterAll(() => redis?.stop());

  const open = (url = redis.url, lookupMs = 50, pauseMs = 10) =>
    openRedisResults({ url, lookupMs, pauseMs, log: createLog('silent'), onError: (reason) => failures.push(reason) });

  /** Redis is asked in the background: until the connection is there, a value is not stored. */
  async function store(results: RedisResults, name: string, ttlMs = 60_000): Promise<void> {
    await untilAsync(async () => {
      results.set(name, outputs, ttlMs);
      return (await results.get(name)) !== undefined;
    });
  }

  test('leave no connection behind when they are closed while it opens', async () => {
    await (await open(`${redis.url}/7`))[Symbol.asyncDispose]();

    const admin = createClient({ url: redis.url });
    await admin.connect();
    const clients = await admin.sendCommand(['CLIENT', 'LIST']);
    admin.destroy();

    expect(clients).not.toContain(' db=7 ');
  });

  test('are there for another server', async () => {
    await using one = await open();
    await using other = await open();
    await store(one, key);

    await untilAsync(async () => (await other.get(key)) !== undefined);
    const found = await other.get(key);

    expect(found?.outputs).toEqual(outputs);
    expect(found?.expiresAt).toBeGreaterThan(Date.now());
  });

  test('go after their time, by the clock of Redis', async () => {
    await using results = await open();
    await store(results, 'short', 1500);
    const client = await createClient({ url: redis.url }).connect();
    const ttlMs = await client.pTTL('nearfar:result:short');
    await client.pExpire('nearfar:result:short', 1);

    await untilAsync(async () => (await results.get('short')) === undefined);
    client.destroy();

    expect(ttlMs).toBeGreaterThan(0);
    expect(ttlMs).toBeLessThanOrEqual(1500);
  });

  test('that are damaged are a miss', async () => {
    await using results = await open();
    await store(results, 'damaged');
    const client = await createClient({ url: redis.url }).connect();
    await client.setRange('nearfar:result:damaged', 60, 'x');
    client.destroy();

    const found = await results.get('damaged');

    expect(found).toBeUndefined();
    expect(failures).toContain('damaged');
  });

  test('that come late are a miss, and then Redis is left alone for a while', async () => {
    await using results = await open(redis.url, 20);
    await store(results, 'late');
    redis.child.kill('SIGSTOP');
    const startedAt = performance.now();

    const answers = await Promise.all(Array.from({ length: 50 }, () => results.get('late')));
    const waitedMs = performance.now() - startedAt;
    redis.child.kill('SIGCONT');

    expect(answers.every((answer) => answer === undefined)).toBe(true);
    // All at once, and none longer than its 20 ms, with much room for a busy machine.
    expect(waitedMs).toBeLessThan(500);
    await untilAsync(async () => (await results.get('late')) !== undefined);
  });

  test('that come late once are a miss, and Redis is asked again at once', async () => {
    await using results = await open(redis.url, 500, 3_600_000);
    await store(results, 'late once');
    redis.child.kill('SIGSTOP');
    const late = await results.get('late once');
    redis.child.kill('SIGCONT');

    const next = await results.get('late once');

    expect(late).toBeUndefined();
    expect(next).toMatchObject({ outputs });
  });

  test('are a miss at once while Redis is away, and there again when it is back', async () => {
    await using away = await startRedis();
    const port = Number(new URL(away.url).port);
    await using results = await open(away.url);
    await store(results, key);

    await away.stop();
    await untilAsync(async () => (await results.get(key)) === undefined);
    results.set(key, outputs, 1000);
    const whileAway = await results.get(key);
    await using _back = await startRedis(port);

    expect(whileAway).toBeUndefined();
    await store(results, key);
  });
});

async function untilAsync(holds: () => Promise<boolean>): Promise<void> {
  let isDone = false;
  let isAsking = false;
  await until(() => {
    if (!isAsking && !isDone) {
      isAsking = true;
      void holds().then((held) => {
        isDone = held;
        isAsking = false;
      });
    }
    return isDone;
  });
}

import { once } from 'node:events';
import type { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BufferPool } from '../../../src/server/buffer-pool.ts';
import { JsonThread, type RunJsonJob, runJsonJobHere } from '../../../src/server/json/index.ts';
import { createRestServer, type Transport } from '../../../src/server/transports/index.ts';
import { createStandInContext, createStandInFiles, createStandInStore, half123, scorer } from './support/stand-in.ts';

// JSON over 64 KiB on real sockets: read in the worker, and the same texts read here.

const store = createStandInStore([half123, scorer]);
const buffers = new BufferPool();
const thread = new JsonThread({ maxWaiting: 8, buffers });
const jobs: string[] = [];
const onJob: (() => void)[] = [];
const inWorker: RunJsonJob = (kind, ...rest) => {
  jobs.push(kind);
  onJob.pop()?.();
  return thread.run(kind, ...rest);
};
const transports: Transport[] = [];
let [threaded, alone] = ['', ''];

beforeAll(async () => {
  threaded = await start(inWorker);
  alone = await start(runJsonJobHere);
});

afterAll(async () => {
  await Promise.all([...transports.map((transport) => transport.close()), thread[Symbol.asyncDispose]()]);
});

async function start(runJsonJob: RunJsonJob): Promise<string> {
  const transport = createRestServer({
    ...createStandInContext(store),
    runJsonJob,
    buffers,
    files: createStandInFiles({}),
    metricsPage: { contentType: 'text/plain', metrics: async () => '' },
    corsAllowedOrigins: [],
    timeoutMs: 30_000,
    lameDuckMs: 0,
  });
  transports.push(transport);
  return `http://127.0.0.1:${(await transport.listen({ host: '127.0.0.1', port: 0 })).port}`;
}

async function post(base: string, path: string, body: string, init: RequestInit = {}) {
  const response = await fetch(`${base}${path}`, { method: 'POST', body, ...init });
  return { status: response.status, type: response.headers.get('content-type'), text: await response.text() };
}

const count = 20_000;
const list = Array.from({ length: count }, (_, index) => index / 7);
const predict = '/v1/models/half_plus_two:predict';
const infer = '/v2/models/half_plus_two/infer';
const tensor = (data: readonly unknown[]) => JSON.stringify({ inputs: [{ name: 'x', datatype: 'FP32', shape: [count], data }] });
const examples = (last: object) => JSON.stringify({ examples: [...list.slice(0, 4000).map((x) => ({ x })), last] });

describe('JSON over 64 KiB', () => {
  test.each([
    ['rows', predict, JSON.stringify({ instances: list }), 200],
    ['columns', predict, JSON.stringify({ inputs: { x: list } }), 200],
    ['an inference request', infer, tensor(list), 200],
    ['examples to classify', '/v1/models/scorer:classify', examples({ x: 1 }), 200],
    ['examples of a regression', '/v1/models/scorer:regress', examples({ x: 1 }).replace('{', '{"signature_name":"regress",'), 200],
    ['a text that ends early', predict, JSON.stringify({ instances: list }).slice(0, -2), 400],
    ['a value of the wrong type', predict, JSON.stringify({ instances: [...list, 'x'] }), 400],
    ['a signature that is not there', predict, JSON.stringify({ signature_name: 'none', instances: list }), 400],
    ['a name that is not there', predict, JSON.stringify({ inputs: { z: list } }), 400],
    ['too few values', infer, tensor(list.slice(1)), 400],
    ['a wrong datatype', infer, tensor(list).replace('FP32', 'FP99'), 400],
    ['an example that is none', '/v1/models/scorer:classify', examples([]), 400],
  ])('is answered from the worker as it would be here: %s', async (_, path, body, status) => {
    jobs.length = 0;

    const answer = await post(threaded, path, body);

    expect(answer).toEqual(await post(alone, path, body));
    expect(answer.status).toBe(status);
    expect(jobs[0]).toMatch(/^decode/);
    expect(store.lent).toBe(0);
  });

  test('is what the worker is for: it neither reads nor writes less', async () => {
    jobs.length = 0;

    const small = await post(threaded, predict, '{"instances":[1,2]}');
    const large = await post(threaded, predict, JSON.stringify({ instances: list }));

    expect([small.status, large.status]).toEqual([200, 200]);
    expect(jobs).toEqual(['decodePredict', 'encodePredict']);
  });

  test('leaves nothing behind when its client goes, and the next one is answered', async () => {
    const body = JSON.stringify({ instances: list });
    const client = new AbortController();
    const begun = new Promise<void>((resolve) => onJob.push(resolve));

    const abandoned = post(threaded, predict, body, { signal: client.signal });
    await begun;
    client.abort();
    await expect(abandoned).rejects.toMatchObject({ name: 'AbortError' });
    const next = await post(threaded, predict, body);

    expect(next.status).toBe(200);
    expect(store.lent).toBe(0);
  });

  test('is answered 503 when its worker ends, and the next one by another worker', async () => {
    const body = JSON.stringify({ instances: list });
    await using mortal = new JsonThread({ maxWaiting: 8, buffers });
    const base = await start(mortal.run);
    const starting = once(process, 'worker') as Promise<[Worker]>;

    const lost = post(base, predict, body);
    const [worker] = await starting;
    await worker.terminate();
    const next = await post(base, predict, body);

    expect(await lost).toMatchObject({ status: 503, text: expect.stringContaining('the JSON worker stopped') });
    expect(next.status).toBe(200);
  });
});

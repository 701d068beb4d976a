import { createHash } from 'node:crypto';
import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { createMemoryStore, type RunningServer, type ServerOptions, startServer } from '../../src/server/index.ts';
import { serveBucket } from '../support/bucket-server.ts';
import { copyEveryday10 } from '../support/everyday10.ts';
import { type Fault, serveFaulty } from '../support/fault-server.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { scalingModel } from '../support/onnx-writer.ts';
import { golden, publishedVersions, until } from '../support/serving.ts';

// The whole server on a repository behind HTTP that fails in every way it can, with real sockets and real engines.

const image = golden.inputs['image']!;
const row = Array.from(image.data.slice(0, 32 * 32 * 3), Number);
const pixels = Array.from({ length: 32 }, (_, y) =>
  Array.from({ length: 32 }, (_, x) => row.slice((y * 32 + x) * 3, (y * 32 + x + 1) * 3)),
);
const body = JSON.stringify({ instances: [pixels] });
const expected = Array.from(golden.outputs['probabilities']!.data.slice(0, 10), Number);

let folder: Awaited<ReturnType<typeof openTempFolder>>;
let store: Awaited<ReturnType<typeof serveFaulty>>;
const origin = (path: string) => join(folder.path, 'origin', path);

beforeEach(async () => {
  folder = await openTempFolder();
  store = await serveFaulty(origin('models'), { answersUnchanged: true });
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await store[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

/** Copies of the built-in model as versions, listed in versions.json with a label on the first of them. */
async function publish(versions: readonly string[], labels: Record<string, string> = { stable: versions[0]! }): Promise<void> {
  const model = origin('models/everyday10');
  const there = await readdir(model).catch((): string[] => []);
  for (const version of versions) if (!there.includes(version)) await copyVersion(model, version);
  await list(versions, labels);
  await writeFile(origin('models/models.json'), JSON.stringify({ models: ['everyday10'] }));
}

/** Each version has a file that no other one has. */
async function copyVersion(model: string, version: string): Promise<void> {
  const notes = Buffer.alloc(100_000, version);
  const digest = `sha256:${createHash('sha256').update(notes).digest('hex')}`;
  await copyEveryday10(model, version, (manifest) => {
    const files = manifest['files'] as Record<string, object>;
    files['notes.bin'] = { bytes: notes.byteLength, digest, chunks: [[notes.byteLength, digest]] };
  });
  await writeFile(join(model, version, 'notes.bin'), notes);
}

async function list(versions: readonly string[], labels: Record<string, string>): Promise<void> {
  const pins = await publishedVersions(origin('models/everyday10'), versions);
  const content = { schemaVersion: 1, name: 'everyday10', versions: pins, labels };
  await writeFile(origin('models/everyday10/versions.json'), JSON.stringify(content));
}

function start(options: ServerOptions = {}): Promise<RunningServer> {
  return startServer({
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 'off',
    modelsRoot: store.origin,
    cacheDir: join(folder.path, 'cache'),
    backends: ['onnx-cpu'],
    engineThreads: 1,
    pollIntervalMs: 20,
    storePollMs: 20,
    firstLoadRetryMs: 5,
    maxLoadRetryMs: 20,
    logLevel: 'silent',
    ...options,
  });
}

interface Status {
  readonly location: string;
  readonly error?: string;
}

/** The first status of a store that is as it should be. */
async function storesUntil({ restAddress }: RunningServer, holds: (status: Status) => boolean): Promise<Status> {
  return vi.waitUntil(
    async () => {
      const { stores }: { stores: Status[] } = await (await fetch(`${restAddress}/nearfar/v1/stores`)).json();
      return stores.find(holds);
    },
    { interval: 5, timeout: 30_000 },
  );
}

/** Path of the largest file of version 1 below the model. */
async function largestFile(): Promise<string> {
  const { files } = JSON.parse(await readFile(origin('models/everyday10/1/manifest.json'), 'utf8'));
  const [[path]] = (Object.entries(files) as [string, { bytes: number }][]).sort(([, a], [, b]) => b.bytes - a.bytes) as [[string, object]];
  return `1/${path}`;
}

/** The version that answers one prediction, which is compared with the golden one. */
async function predict({ restAddress }: RunningServer, path = 'everyday10'): Promise<string | null> {
  const response = await fetch(`${restAddress}/v1/models/${path}:predict`, { method: 'POST', body });
  const answer = await response.json();
  expect(response.status, JSON.stringify(answer)).toBe(200);
  for (const [index, right] of expected.entries()) expect(answer.predictions[0][index]).toBeCloseTo(right, 4);
  return response.headers.get('nearfar-model-version');
}

describe('a server on a repository behind HTTP', () => {
  test('answers as from disk, and gives browsers every file with its bytes', async () => {
    await publish(['1']);
    await using server = await start();
    await server.whenReady();

    const version = await predict(server);

    expect(version).toBe('1');
    const manifest = JSON.parse(await readFile(origin('models/everyday10/1/manifest.json'), 'utf8'));
    for (const path of ['versions.json', '1/manifest.json', ...Object.keys(manifest.files).map((file) => `1/${file}`)]) {
      const response = await fetch(`${server.restAddress}/models/everyday10/${path}`);
      const bytes = Buffer.from(await response.arrayBuffer());
      expect(bytes.equals(await readFile(origin(`models/everyday10/${path}`))), path).toBe(true);
    }
  });

  test('asks for versions.json with its ETag, and reads no file twice', async () => {
    await publish(['1']);
    await using server = await start();
    await server.whenReady();
    const reads = new Map<string, number>();

    await until(() => store.requests.filter(({ path, status }) => path === 'everyday10/versions.json' && status === 304).length > 3);

    for (const { path, status } of store.requests) if (status === 200) reads.set(path, (reads.get(path) ?? 0) + 1);
    expect([...reads].filter(([path, count]) => path !== 'models.json' && count > 1)).toEqual([]);
  });

  test('goes over to a new version that its label names, and back', async () => {
    await publish(['1']);
    await using server = await start();
    await server.whenReady();

    await publish(['1', '2'], { stable: '2' });
    await until(() => server.servables.labels('everyday10')['stable'] === '2');
    await list(['1', '2'], { stable: '1' });
    await until(() => server.servables.labels('everyday10')['stable'] === '1');

    expect(await predict(server, 'everyday10/labels/stable')).toBe('1');
  });

  test('serves on with what it has while the store is away, says so, and takes up again', async () => {
    await publish(['1']);
    await using server = await start();
    await server.whenReady();

    await store.goOffline();
    const away = await storesUntil(server, ({ location, error }) => location.endsWith('everyday10') && error !== undefined);
    const metrics = await (await fetch(`${server.restAddress}/metrics`)).text();

    expect(await predict(server)).toBe('1');
    expect(away).toMatchObject({ location: `${store.origin}/everyday10`, error: expect.stringMatching(/^cannot read http/) });
    expect(metrics).toContain(`nearfar_store_up{location="${store.origin}/everyday10"} 0`);
    await store.goOnline();
    await publish(['1', '2'], { stable: '2' });
    await until(() => server.servables.labels('everyday10')['stable'] === '2');
    await storesUntil(server, ({ location, error }) => location.endsWith('everyday10') && error === undefined);
  });

  test('starts with what it had when the network is gone', async () => {
    await publish(['1']);
    await using first = await start();
    await first.whenReady();
    await first.close();
    await store.goOffline();

    await using second = await start();
    await second.whenReady();

    expect(await predict(second)).toBe('1');
  });

  test('says why where there is nothing yet, and serves when the network is back', async () => {
    await publish(['1']);
    await store.goOffline();
    await using server = await start({ modelsRoot: undefined, models: [{ name: 'everyday10', basePath: `${store.origin}/everyday10` }] });
    const refused = await storesUntil(server, ({ error }) => error !== undefined);
    const ready = await fetch(`${server.restAddress}/readyz`);

    await store.goOnline();
    await server.whenReady();

    expect(refused.error).toMatch(/ECONNREFUSED/);
    expect(ready.status).toBe(503);
    expect(await predict(server)).toBe('1');
  });

  test('reads on where a connection was cut, at any byte', async () => {
    await publish(['1']);
    const largest = await largestFile();
    const size = (await readFile(origin(`models/everyday10/${largest}`))).byteLength;
    const cuts = [0, 1, Math.floor(size / 2), size - 1];
    store.fail((path, index) => (path === `everyday10/${largest}` && index < cuts.length ? { cutAfterBytes: cuts[index]! } : undefined));

    await using server = await start();
    await server.whenReady();

    expect(await predict(server)).toBe('1');
    // Bytes that were sent may be lost with their connection; none is read for nothing.
    const read = store.requests.filter(({ path }) => path === `everyday10/${largest}`);
    expect(read.filter(({ range }) => range !== undefined).length).toBeGreaterThan(0);
    const starts = read.map(({ range }) => Number(/^bytes=(\d+)-/.exec(range ?? '')?.[1] ?? 0));
    expect(starts).toEqual([...starts].sort((a, b) => a - b));
  });

  test('reads from the beginning where the store knows no ranges', async () => {
    await publish(['1']);
    const largest = await largestFile();
    const half = Math.floor((await readFile(origin(`models/everyday10/${largest}`))).byteLength / 2);
    store.fail((path, index) =>
      path === `everyday10/${largest}` ? { ignoreRanges: true, ...(index === 0 && { cutAfterBytes: half }) } : undefined,
    );

    await using server = await start();
    await server.whenReady();

    expect(await predict(server)).toBe('1');
  });

  test('serves the old version while a file of the new one cannot be had, and the new one afterwards', async () => {
    const faults: readonly [string, Fault, RegExp][] = [
      ['a wrong byte', { flipByteAt: 100 }, /has digest sha256:/],
      ['403', { status: 403 }, /HTTP 403/],
      ['429 with Retry-After', { status: 429, headers: { 'retry-after': '0' } }, /HTTP 429/],
      ['500', { status: 500 }, /HTTP 500/],
      ['no answer', { refuse: true }, /cannot read/],
      ['404, as while it is uploaded', { status: 404 }, /is not complete there/],
      ['a file that is too short', { body: 'short' }, /ended after 5 of 100000 bytes/],
      ['a file that is too long', { body: '0'.repeat(100_001) }, /more came than the 100000 bytes/],
      ['a redirect to another host', { status: 302, headers: { location: 'http://127.0.0.1:1/x' } }, /--store_redirect_hosts/],
    ];
    await publish(['1']);
    await using server = await start();
    await server.whenReady();

    for (const [index, [what, fault, message]] of faults.entries()) {
      const [old, next] = [String(index + 1), String(index + 2)];
      let isBroken = true;
      store.fail((path) => (isBroken && path === `everyday10/${next}/notes.bin` ? fault : undefined));
      await publish([old, next], { stable: next });
      const statusOf = () => server.servables.status({ name: 'everyday10' }).find(({ version }) => version === next);
      await until(() => statusOf()?.errorCode !== undefined && statusOf()?.errorCode !== 0);

      const failed = statusOf();
      const { labels } = await (await fetch(`${server.restAddress}/models/everyday10/versions.json`)).json();
      expect(await predict(server), what).toBe(old);
      expect(labels, what).toEqual({ stable: old });
      expect(failed?.errorMessage, what).toMatch(message);
      isBroken = false;
      await until(() => server.servables.labels('everyday10')['stable'] === next);
      expect(await predict(server), what).toBe(next);
    }
  });

  test('follows a label back to what is here while the newest version cannot be had', async () => {
    await publish(['1', '2'], { stable: '1' });
    store.fail((path) => (path === 'everyday10/3/manifest.json' ? { status: 500 } : undefined));
    await using server = await start();
    await server.whenReady();
    await publish(['1', '2', '3'], { stable: '2' });

    await until(() => server.servables.labels('everyday10')['stable'] === '2');

    expect(await predict(server, 'everyday10/labels/stable')).toBe('2');
  });

  test('takes no manifest that versions.json does not pin, and asks past caches for the right one', async () => {
    await publish(['1']);
    await using server = await start();
    await server.whenReady();
    const stale = await readFile(origin('models/everyday10/1/manifest.json'), 'utf8');
    store.fail((path, index) => (path === 'everyday10/2/manifest.json' && index === 0 ? { body: stale } : undefined));

    await publish(['1', '2'], { stable: '2' });
    await until(() => server.servables.labels('everyday10')['stable'] === '2');

    expect(await predict(server)).toBe('2');
  });

  test('keeps what it has when the store is emptied', async () => {
    await publish(['1']);
    await using server = await start();
    await server.whenReady();

    await rm(origin('models/everyday10'), { recursive: true });
    await writeFile(origin('models/models.json'), JSON.stringify({ models: [] }));
    const root = await storesUntil(server, ({ location, error }) => location === store.origin && error !== undefined);

    expect(root.error).toMatch(/lists no model any more/);
    expect(await predict(server)).toBe('1');
  });

  test('unloads a model that left the store while others stay', async () => {
    await publish(['1']);
    await cp(origin('models/everyday10'), origin('models/other'), { recursive: true });
    await writeFile(origin('models/models.json'), JSON.stringify({ models: ['everyday10', 'other'] }));
    await using server = await start();
    await server.whenReady();
    expect(server.servables.names()).toEqual(['everyday10', 'other']);

    await writeFile(origin('models/models.json'), JSON.stringify({ models: ['everyday10'] }));
    await until(() => !server.servables.names().includes('other'));

    expect(await predict(server)).toBe('1');
  });

  test('asks as seldom as Cache-Control says, and at once when it is told to', async () => {
    await publish(['1']);
    store.fail((path) => (path.endsWith('.json') ? { headers: { 'cache-control': 'max-age=3600' } } : undefined));
    await using server = await start();
    await server.whenReady();
    const asked = () => store.requests.filter(({ path }) => path === 'everyday10/versions.json').length;
    const before = asked();
    await publish(['1', '2'], { stable: '2' });

    const refreshed = await fetch(`${server.restAddress}/nearfar/v1/models/everyday10/refresh`, { method: 'POST' });
    await until(() => server.servables.labels('everyday10')['stable'] === '2');

    expect(refreshed.status).toBe(200);
    expect(before).toBe(1);
    expect(asked()).toBe(2);
  });

  test('adds a model of the same store by a call, and none of another one', async () => {
    await publish(['1']);
    await using server = await start();
    await server.whenReady();
    const put = (name: string, basePath: string) =>
      fetch(`${server.restAddress}/nearfar/v1/models/${name}`, { method: 'PUT', body: JSON.stringify({ base_path: basePath }) });

    const same = await put('twin', `${store.origin}/everyday10`);
    const other = await put('stranger', 'http://127.0.0.1:1/everyday10');
    const missing = await put('nobody', `${store.origin}/nobody`);

    expect([same.status, await same.json()]).toMatchObject([200, { base_path: `${store.origin}/everyday10` }]);
    expect(await predict(server, 'twin')).toBe('1');
    expect([other.status, (await other.json()).code]).toEqual([403, 'permission-denied']);
    expect(missing.status).toBe(404);
  });

  test('shares what it keeps with another server, and reads each file once for both', async () => {
    await publish(['1']);
    await using first = await start();
    await using second = await start();
    await Promise.all([first.whenReady(), second.whenReady()]);
    const largest = await largestFile();

    const whole = store.requests.filter(({ path, status }) => path === `everyday10/${largest}` && status === 200);
    expect([await predict(first), await predict(second)]).toEqual(['1', '1']);
    expect(whole).toHaveLength(1);
  });
});

describe('a server on another store', () => {
  /** Puts every file of the published model where a store has it. */
  async function upload(write: (path: string, bytes: Buffer) => void, under = 'everyday10'): Promise<void> {
    const entries = await readdir(origin('models/everyday10'), { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
    // versions.json comes last: then everything it names is there.
    for (const file of files.sort((a, b) => Number(a.endsWith('versions.json')) - Number(b.endsWith('versions.json')))) {
      write(`${under}${file.slice(origin('models/everyday10').length)}`, await readFile(file));
    }
  }

  test('of the application hears of changes at once', async () => {
    await publish(['1']);
    const memory = createMemoryStore();
    await upload((path, bytes) => memory.write(path, bytes));
    await using server = await start({ modelsRoot: undefined, store: memory, storePollMs: 3_600_000 });
    await server.whenReady();

    await publish(['1', '2'], { stable: '2' });
    await upload((path, bytes) => memory.write(path, bytes));
    await until(() => server.servables.labels('everyday10')['stable'] === '2');

    expect(await predict(server)).toBe('2');
  });

  test('in S3 looks when an event of the bucket comes, at the models it names', async () => {
    await publish(['1']);
    await using bucket = await serveBucket();
    const put = (path: string, bytes: Buffer) =>
      (bucket.objects as Map<string, object>).set(`bucket/all/${path}`, { bytes, cacheControl: undefined });
    await upload(put);
    for (const [name, value] of Object.entries(bucket.environment)) vi.stubEnv(name, value);
    await using server = await start({ modelsRoot: 's3://bucket/all', storePollMs: 3_600_000 });
    await server.whenReady();
    await publish(['1', '2'], { stable: '2' });
    await upload(put);
    const asked: string[] = [];
    bucket.intercept = (_, key) => void asked.push(key);
    const record = (key: string) => ({ s3: { bucket: { name: 'bucket' }, object: { key } } });
    const post = async (event: object) => {
      const response = await fetch(`${server.restAddress}/nearfar/v1/refresh`, { method: 'POST', body: JSON.stringify(event) });
      return [response.status, (await response.json()).models];
    };

    const elsewhere = await post({ Records: [record('other/everyday10/versions.json')] });
    const askedElsewhere = [...asked];
    const sns = { Type: 'Notification', Message: JSON.stringify({ Records: [record('all/everyday10/versions.json')] }) };
    const here = await post(sns);
    const strange = await post({ some: 'thing' });
    await until(() => server.servables.labels('everyday10')['stable'] === '2');

    expect([elsewhere, askedElsewhere]).toEqual([[200, []], []]);
    expect(here).toEqual([200, ['everyday10']]);
    expect(strange[0]).toBe(400);
    expect(await predict(server)).toBe('2');
  });

  test('takes plain versions once two listings agree, and never half of one', async () => {
    const memory = createMemoryStore();
    const onnx = scalingModel(2);
    memory.write('scale/1/model.onnx', onnx.subarray(0, 100));
    await using server = await start({ modelsRoot: undefined, store: memory });
    const { restAddress } = server;
    memory.write('scale/1/model.onnx', onnx);
    await vi.waitUntil(async () => (await fetch(`${restAddress}/v1/models/scale`)).ok, { interval: 20, timeout: 30_000 });
    await server.whenReady();

    const metadata = await (await fetch(`${restAddress}/v2/models/scale`)).json();

    expect(metadata).toMatchObject({ name: 'scale', versions: ['1'] });
  });

  test('of another server of ours serves what that one serves', async () => {
    await publish(['1']);
    await using first = await start();
    await first.whenReady();
    await using second = await start({ modelsRoot: `${first.restAddress}/models`, cacheDir: join(folder.path, 'other-cache') });
    await second.whenReady();
    await publish(['1', '2'], { stable: '2' });

    await until(() => second.servables.labels('everyday10')['stable'] === '2');

    expect(await predict(second)).toBe('2');
  });
});

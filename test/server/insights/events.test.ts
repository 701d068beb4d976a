import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type RunningServer, startServer } from '../../../src/server/index.ts';
import { copyEveryday10 } from '../../support/everyday10.ts';
import { openTempFolder } from '../../support/model-folder.ts';
import { outerProduct } from '../../support/outer-product.ts';
import { publishSource } from '../../support/task-models.ts';

// What the management page is told, over a real socket.

let folder: Awaited<ReturnType<typeof openTempFolder>>;
let server: RunningServer;

beforeAll(async () => {
  folder = await openTempFolder();
  for (const version of ['1', '2', '3']) await copyEveryday10(join(folder.path, 'm'), version);
  await publishSource(folder.path, 'outer', outerProduct());
  server = await startServer({
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 'off',
    backends: ['onnx-cpu', 'tfjs-wasm'],
    engineThreads: 1,
    cacheDir: join(folder.path, 'cache'),
    historyFile: '',
    logLevel: 'silent',
    models: [
      { name: 'm', basePath: join(folder.path, 'm'), policy: { kind: 'specific', versions: ['1', '2'] }, labels: { stable: '1' } },
      { name: 'outer', basePath: join(folder.path, 'outer') },
    ],
  });
  await server.whenReady();
});
afterAll(async () => {
  await server.close();
  await folder[Symbol.asyncDispose]();
});

interface SentEvent {
  readonly event: string;
  readonly id: string;
  // biome-ignore lint/suspicious/noExplicitAny: what is in it differs by event
  readonly data: any;
}

/** Reads Server-Sent Events; `next(event)` waits for one of that kind for which `holds`. */
async function openEvents(headers: Record<string, string> = {}) {
  const controller = new AbortController();
  const response = await fetch(`${server.restAddress}/nearfar/v1/events`, { headers, signal: controller.signal });
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  const seen: SentEvent[] = [];
  const read = async (): Promise<SentEvent | undefined> => {
    for (;;) {
      const end = text.indexOf('\n\n');
      if (end >= 0) {
        const fields = Object.fromEntries(
          text
            .slice(0, end)
            .split('\n')
            .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]),
        );
        text = text.slice(end + 2);
        if (fields['event'] === undefined) continue;
        const event = { event: fields['event'], id: fields['id'] ?? '', data: JSON.parse(fields['data'] ?? '') };
        seen.push(event);
        return event;
      }
      const { done, value } = await reader.read();
      if (done) return undefined;
      text += value;
    }
  };
  return {
    response,
    seen,
    async next(kind: string, holds: (data: SentEvent['data']) => boolean = () => true): Promise<SentEvent> {
      for (;;) {
        const event = await read();
        if (!event) throw new Error(`the stream ended before ${kind}`);
        if (event.event === kind && holds(event.data)) return event;
      }
    },
    async ended() {
      while (await read());
    },
    [Symbol.dispose]: () => controller.abort(),
  };
}

const put = (path: string, body: object) =>
  fetch(`${server.restAddress}/nearfar/v1/${path}`, { method: 'PUT', body: JSON.stringify(body) }).then(({ status }) => status);

const askOuter = (length: number) =>
  fetch(`${server.restAddress}/v1/models/outer:predict`, { method: 'POST', body: JSON.stringify({ inputs: Array(length).fill(1) }) });

test('tell what is served, then each change and its entry in the history', async () => {
  using events = await openEvents();

  const first = await events.next('models');
  const changed = await put('models/m/labels/canary', { version: 2 });
  const entry = await events.next('history');
  const after = await events.next('models', ({ models }) => models[0].labels.canary === '2');

  expect(events.response.headers.get('content-type')).toBe('text/event-stream');
  expect(first.data).toEqual({
    models: [expect.objectContaining({ name: 'm', labels: { stable: '1' } }), expect.objectContaining({ name: 'outer' })],
  });
  expect(changed).toBe(200);
  expect(entry.data).toMatchObject({ model: 'm', action: 'change', outcome: 'done' });
  expect(after.data.models[0].versions).toHaveLength(2);
});

test('tell a failure, and who comes back what was missed meanwhile', async () => {
  const before = await openEvents();
  const { id } = await before.next('models');
  before[Symbol.dispose]();
  const { status } = await askOuter(40_000);
  const failures = await (await fetch(`${server.restAddress}/nearfar/v1/failures?model=outer`)).json();

  using events = await openEvents({ 'last-event-id': id });
  const missed = await events.next('failure');

  expect(status).toBe(503);
  expect(missed.data).toMatchObject({ kind: 'request', model: 'outer', version: '1', code: 'out-of-memory', count: 1 });
  expect(failures).toEqual({ failures: [missed.data] });
  expect(await (await askOuter(3)).json()).toEqual({ outputs: -9 });
});

test('a version is described by its manifest, and one that is not there is refused', async () => {
  const about = await (await fetch(`${server.restAddress}/nearfar/v1/models/m/versions/1`)).json();
  const missing = await fetch(`${server.restAddress}/nearfar/v1/models/m/versions/7`);

  expect(about).toMatchObject({
    model: 'm',
    version: '1',
    state: 'AVAILABLE',
    backend: 'onnx-cpu',
    platform: 'onnx',
    labels: ['stable'],
    signatures: { serving_default: { inputs: { image: { dtype: 'float32', shape: [-1, 32, 32, 3] } } } },
    tasks: { 'image-classification': {} },
    batching: [],
  });
  expect(about.variants.map(({ format }: { format: string }) => format).sort()).toEqual(['onnx', 'tfjs-graph']);
  expect(about.bytes).toBeGreaterThan(about.variants[0].bytes);
  expect(missing.status).toBe(404);
});

test('a loaded version tells what it takes and how busy it is, one that lies in the folder alone what it is', async () => {
  const get = async (path: string) => (await fetch(`${server.restAddress}/nearfar/v1/models${path}`)).json();
  const loaded = await get('/m/versions/2');
  const unasked = await get('/m/versions/3');
  const { models } = await get('');

  const used = loaded.variants.find(({ id }: { id: string }) => id === loaded.variant);
  expect(loaded).toMatchObject({ parallelism: 1, inFlight: 0, memoryBytes: used.bytes });
  expect(Math.abs(Date.parse(loaded.loadedAt) - Date.now())).toBeLessThan(120_000);
  expect(unasked).toMatchObject({ version: '3', state: 'UNKNOWN', labels: [], signatures: { serving_default: {} } });
  expect(unasked.digest).not.toBe(loaded.digest);
  expect(unasked).not.toHaveProperty('memoryBytes');
  expect(models[0].published).toEqual(['3', '2', '1']);
});

test('tell of labels that somebody writes into versions.json, which is no change of a state', async () => {
  const file = join(folder.path, 'outer', 'versions.json');
  using events = await openEvents();
  await events.next('models');
  const versions = JSON.parse(await readFile(file, 'utf8'));
  await writeFile(`${file}.new`, JSON.stringify({ ...versions, labels: { ...versions.labels, night: '1' } }));
  await rename(`${file}.new`, file);
  const after = await events.next('models', ({ models }) => models[1].labels.night === '1');

  expect(after.data.models[1].versions[0].labels).toContain('night');
});

test('wrong queries are refused by name', async () => {
  const response = await fetch(`${server.restAddress}/nearfar/v1/charts?minutes=soon`);

  expect(response.status).toBe(400);
  expect(await response.json()).toMatchObject({ error: '?minutes=: expected a whole number, got "soon"' });
});

test('more watchers than the server takes are refused, and those who watch do not hold up its end', async () => {
  const watchers = await Promise.all(Array.from({ length: 64 }, () => openEvents()));
  const refused = await fetch(`${server.restAddress}/nearfar/v1/events`);
  const ends = watchers.map((events) => events.ended());
  await server.close();

  await Promise.all(ends);

  expect(refused.status).toBe(503);
});

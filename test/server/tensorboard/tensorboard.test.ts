import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readTfRecords } from '../../../src/core/index.ts';
import { startServer } from '../../../src/server/index.ts';
import { Quality } from '../../../src/server/quality/index.ts';
import type { RequestRecord } from '../../../src/server/request-record.ts';
import { EventFile } from '../../../src/server/tensorboard/event-file.ts';
import { TensorBoard } from '../../../src/server/tensorboard/index.ts';
import { copyEveryday10 } from '../../support/everyday10.ts';
import { openTempFolder } from '../../support/model-folder.ts';

let folder: Awaited<ReturnType<typeof openTempFolder>>;
beforeEach(async () => {
  folder = await openTempFolder();
});
afterEach(() => folder[Symbol.asyncDispose]());

interface ReadEvent {
  wallTime?: number;
  step?: number;
  fileVersion?: string;
  readonly scalars: Record<string, number>;
}

/** By the field numbers of event.proto and summary.proto. */
function readEvent(bytes: Uint8Array): ReadEvent {
  const event: ReadEvent = { scalars: {} };
  for (const [field, reader] of fieldsOf(bytes)) {
    if (field === 1) event.wallTime = reader.double();
    else if (field === 2) event.step = Number(reader.int64());
    else if (field === 3) event.fileVersion = reader.string();
    else if (field === 5) for (const [, values] of fieldsOf(reader.bytes())) Object.assign(event.scalars, readValue(values.bytes()));
    else throw new Error(`field ${field}`);
  }
  return event;
}

function readValue(bytes: Uint8Array): Record<string, number> {
  let tag = '';
  let value = Number.NaN;
  for (const [field, reader] of fieldsOf(bytes)) {
    if (field === 1) tag = reader.string();
    else if (field === 2) value = reader.float();
    else throw new Error(`field ${field}`);
  }
  return { [tag]: value };
}

function* fieldsOf(bytes: Uint8Array): Iterable<[number, BinaryReader]> {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) yield [reader.tag()[0], reader];
}

async function readRun(run: string): Promise<ReadEvent[][]> {
  const names = (await readdir(run)).filter((name) => name.includes('tfevents')).sort();
  return Promise.all(names.map(async (name) => readTfRecords(new Uint8Array(await readFile(join(run, name)))).map(readEvent)));
}

const quality = () =>
  new Quality({
    registry: new Registry(),
    driftOf: () => 0,
    takesFeedback: () => false,
    windowRows: 10,
    reference: 'first',
    driftDir: undefined,
    feedbackKeyFile: undefined,
    feedbackTtlMs: 1000,
    log: { error: () => {} },
  });

const request = (durationMs: number, errorCode?: RequestRecord['errorCode']): RequestRecord => ({
  kind: 'prediction',
  model: 'm',
  api: 'predict',
  entrypoint: 'REST',
  status: errorCode ? 'INTERNAL' : 'OK',
  errorCode,
  startedAt: 0,
  durationMs,
  servable: { version: '2', digest: 'sha256:0', backend: 'onnx-cpu', variant: 'v' },
});

function open(options: { readonly directory?: string; readonly errors?: object[] } = {}) {
  let now = Date.parse('2026-01-02T03:04:05Z');
  const board = new TensorBoard({
    directory: options.directory ?? folder.path,
    intervalMs: 10_000,
    sample: () => ({ inFlight: 3, memoryBytes: 2 ** 20 }),
    quality: quality(),
    log: { error: (fields: object) => void options.errors?.push(fields) },
    now: () => now,
  });
  const endInterval = () => {
    now += 10_000;
    board.endInterval();
  };
  return { board, endInterval };
}

test('an interval is one event of each run, the server and every version that was asked', async () => {
  const { board, endInterval } = open();
  for (const record of [request(1), request(1), request(100), request(1, 'internal')]) board.recordRequest(record);
  endInterval();
  endInterval();
  await board[Symbol.asyncDispose]();

  const [server] = await readRun(join(folder.path, 'server'));
  const [version] = await readRun(join(folder.path, 'models/m/2'));
  expect(server?.map(({ fileVersion }) => fileVersion)).toEqual(['brain.Event:2', undefined, undefined, undefined]);
  expect(server?.[1]?.scalars).toMatchObject({ 'server/in_flight': 3, 'server/memory_bytes': 2 ** 20 });
  const [, first, second] = version ?? [];
  expect(first?.scalars['requests/per_second']).toBeCloseTo(0.4);
  expect(first?.scalars['requests/errors_per_second']).toBeCloseTo(0.1);
  expect(first?.scalars['latency/p99_ms']).toBeGreaterThanOrEqual(100);
  expect(first?.scalars).not.toHaveProperty('server/memory_bytes');
  expect(second?.scalars).toEqual({ 'requests/per_second': 0, 'requests/errors_per_second': 0, 'requests/refused_per_second': 0 });
  expect([second!.step! - first!.step!, second!.wallTime! - first!.wallTime!]).toEqual([1, 10]);
});

test('a file that is full is followed by another one, which begins like every file', async () => {
  const file = new EventFile(join(folder.path, 'run'), 200);
  for (let step = 0; step < 5; step++) await file.append({ at: 1e12 + step, step, scalars: { 'requests/per_second': step } });

  const files = await readRun(join(folder.path, 'run'));
  expect(files.length).toBeGreaterThan(1);
  for (const [first] of files) expect(first).toMatchObject({ fileVersion: 'brain.Event:2', scalars: {} });
  expect(files.flat().flatMap(({ scalars }) => Object.values(scalars))).toEqual([0, 1, 2, 3, 4]);
});

test('a folder that cannot be written is told once, and fails nothing', async () => {
  const directory = join(folder.path, 'file');
  await writeFile(directory, 'a file where the folder should be');
  const errors: object[] = [];
  const { board, endInterval } = open({ directory, errors });

  endInterval();
  endInterval();
  await board[Symbol.asyncDispose]();
  await board[Symbol.asyncDispose]();

  expect(errors).toHaveLength(1);
});

test('a server writes its runs, with what it answered last before it closes', async () => {
  const modelsRoot = join(folder.path, 'models');
  await copyEveryday10(join(modelsRoot, 'everyday10'), '1');
  const server = await startServer({
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 'off',
    modelsRoot,
    cacheDir: join(folder.path, 'cache'),
    backends: ['onnx-cpu'],
    engineThreads: 1,
    logLevel: 'silent',
    tensorboardDir: join(folder.path, 'board'),
    tensorboardIntervalMs: 3_600_000,
    modelDefaults: { driftSamplingRate: 1 },
  });
  await server.whenReady();
  const pixels = Array.from({ length: 32 }, () => Array.from({ length: 32 }, () => [0.5, 0.5, 0.5]));
  const body = JSON.stringify({ instances: [pixels] });
  const { status } = await fetch(`${server.restAddress}/v1/models/everyday10:predict`, { method: 'POST', body });
  await server.close();

  const [events] = await readRun(join(folder.path, 'board/models/everyday10/1'));
  expect(status).toBe(200);
  expect(events).toHaveLength(2);
  expect(events?.[1]?.scalars['requests/per_second']).toBeGreaterThan(0);
  expect(events?.[1]?.scalars['latency/p50_ms']).toBeGreaterThan(0);
});

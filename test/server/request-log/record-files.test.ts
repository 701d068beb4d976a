import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readTfRecords } from '../../../src/core/index.ts';
import { RecordFiles, type RecordFilesOptions } from '../../../src/server/request-log/record-files.ts';

let folder: string;
let outcomes: string[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nearfar-'));
  outcomes = [];
});

afterEach(() => rm(folder, { recursive: true }));

function openFiles(options: Partial<RecordFilesOptions> = {}): RecordFiles {
  const onRecord: RecordFilesOptions['onRecord'] = (error) => void outcomes.push(error?.code ?? 'OK');
  return new RecordFiles({ prefix: join(folder, 'logs/m'), now: () => Date.UTC(2026, 0, 2, 3, 4, 5), onRecord, ...options });
}

const record = (text: string) => new TextEncoder().encode(text);

async function written(): Promise<Record<string, string[]>> {
  const names = (await readdir(join(folder, 'logs'))).sort();
  const texts = async (name: string) =>
    readTfRecords(new Uint8Array(await readFile(join(folder, 'logs', name)))).map((content) => new TextDecoder().decode(content));
  return Object.fromEntries(await Promise.all(names.map(async (name) => [name, await texts(name)] as const)));
}

test('begins a new file when one has the records that it may have', async () => {
  const files = openFiles({ maxRecords: 2 });

  for (const text of ['a', 'b', 'c']) files.append(record(text));
  await files.flush();
  files.append(record('d'));
  files.append(record('e'));
  await files[Symbol.asyncDispose]();

  expect(await written()).toEqual({
    'm-20260102T030405Z-00001.tfrecord': ['a', 'b'],
    'm-20260102T030405Z-00002.tfrecord': ['c', 'd'],
    'm-20260102T030405Z-00003.tfrecord': ['e'],
  });
});

test('begins a new file before one becomes too large, and gives a record that is too large alone a file of its own', async () => {
  const files = openFiles({ maxFileBytes: 40 });

  for (const text of ['aaa', 'bbb', 'c'.repeat(100), 'd']) files.append(record(text));
  await files[Symbol.asyncDispose]();

  expect(Object.values(await written())).toEqual([['aaa', 'bbb'], ['c'.repeat(100)], ['d']]);
});

test('drops what the disk does not take in time, and says so', async () => {
  const files = openFiles({ maxQueuedBytes: 40 });

  for (const text of ['aaa', 'bbb', 'ccc']) files.append(record(text));
  await files.flush();
  files.append(record('ddd'));
  await files[Symbol.asyncDispose]();
  files.append(record('eee'));

  expect(Object.values(await written())).toEqual([['aaa', 'bbb', 'ddd']]);
  expect(outcomes).toEqual(['rate-limited', 'OK', 'OK', 'OK', 'unavailable']);
});

test('never writes over a file that is there', async () => {
  const first = openFiles();
  first.append(record('a'));
  await first[Symbol.asyncDispose]();

  const second = openFiles();
  second.append(record('b'));
  await second[Symbol.asyncDispose]();

  expect(Object.values(await written())).toEqual([['a'], ['b']]);
});

test('loses what cannot be written, says so, and goes on when it can again', async () => {
  await writeFile(join(folder, 'logs'), 'a file where the folder should be');
  const files = openFiles();
  files.append(record('a'));
  await files.flush();

  await rm(join(folder, 'logs'));
  files.append(record('b'));
  await files[Symbol.asyncDispose]();

  expect(outcomes).toEqual(['internal', 'OK']);
  expect(Object.values(await written())).toEqual([['b']]);
});

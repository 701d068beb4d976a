import { expect, test } from 'vitest';
import { type Manifest, planRequests } from '../../../src/core/index.ts';

test('asks for every chunk of the wanted files, neighbours in one request', () => {
  const manifest = manifestWith({ 'a.bin': [10, 20, 30], 'b.bin': [5], 'unwanted.bin': [7] });

  const requests = planRequests(manifest, ['a.bin', 'b.bin'], new Set());

  expect(requests).toMatchObject([
    { file: 'a.bin', start: 0, end: 60 },
    { file: 'b.bin', start: 0, end: 5 },
  ]);
  expect(requests[0]?.chunks.map(({ index, start, bytes }) => [index, start, bytes])).toEqual([
    [0, 0, 10],
    [1, 10, 20],
    [2, 30, 30],
  ]);
});

test('leaves out the chunks that are there and splits around them', () => {
  const manifest = manifestWith({ 'a.bin': [10, 20, 30, 40] });

  const requests = planRequests(manifest, ['a.bin'], new Set([digestFor('a.bin', 1)]));

  expect(requests).toMatchObject([
    { start: 0, end: 10 },
    { start: 30, end: 100 },
  ]);
});

test('keeps requests below the largest size, but never splits a chunk', () => {
  const manifest = manifestWith({ 'a.bin': [40, 40, 40, 150, 10] });

  const requests = planRequests(manifest, ['a.bin'], new Set(), { maxRequestBytes: 100 });

  expect(requests.map(({ start, end }) => [start, end])).toEqual([
    [0, 80],
    [80, 120],
    [120, 270],
    [270, 280],
  ]);
});

test('fetches a chunk that occurs twice only once', () => {
  const manifest = manifestWith({ 'a.bin': [10, 10] });
  manifest.files['b.bin'] = { bytes: 10, digest: digestFor('b.bin', 0), chunks: [[10, digestFor('a.bin', 0)]] };

  const requests = planRequests(manifest, ['a.bin', 'b.bin', 'a.bin'], new Set());

  expect(requests).toMatchObject([{ file: 'a.bin', start: 0, end: 20 }]);
});

test('has nothing to do when all is there, or for an empty file', () => {
  const manifest = manifestWith({ 'a.bin': [10], 'empty.bin': [] });

  expect(planRequests(manifest, ['a.bin', 'empty.bin'], new Set([digestFor('a.bin', 0)]))).toEqual([]);
});

test('refuses a file that the manifest does not have', () => {
  expect(() => planRequests(manifestWith({}), ['no.bin'], new Set())).toThrowError(
    expect.objectContaining({ code: 'invalid-argument', details: { file: 'no.bin' } }),
  );
});

function manifestWith(files: Readonly<Record<string, readonly number[]>>): Manifest {
  return {
    schemaVersion: 1,
    name: 'm',
    version: '1',
    signatures: {},
    variants: [],
    golden: [],
    files: Object.fromEntries(
      Object.entries(files).map(([name, sizes]) => [
        name,
        {
          bytes: sizes.reduce((sum, size) => sum + size, 0),
          digest: digestFor(name, -1),
          chunks: sizes.map((size, index): [number, string] => [size, digestFor(name, index)]),
        },
      ]),
    ),
  };
}

function digestFor(name: string, chunk: number): string {
  return `sha256:${name}#${chunk}`;
}

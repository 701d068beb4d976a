import { describe, expect, test } from 'vitest';
import { openBundle } from '../../../../src/core/formats/savedmodel/bundle.ts';
import { crc32c } from '../../../../src/core/formats/savedmodel/crc32c.ts';
import { sliceKey } from '../../../../src/core/formats/savedmodel/ordered-code.ts';
import { decodeSnappy } from '../../../../src/core/formats/savedmodel/snappy.ts';
import { type BundleOptions, type WrittenTensor, writeBundle } from './bundle-writer.ts';
import { memoryFile } from './folder.ts';

const FLOAT = 1;
const COMPLEX = 8;

const bigEndian = (...values: number[]) => {
  const view = new DataView(new ArrayBuffer(4 * values.length));
  for (const [index, value] of values.entries()) view.setFloat32(4 * index, value);
  return new Uint8Array(view.buffer);
};
const floats = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer);

async function open(tensors: readonly WrittenTensor[], options: BundleOptions = {}) {
  const files = [...writeBundle(tensors, options)].map(([path, bytes]) => [path, memoryFile(bytes)] as const);
  return (await openBundle(new Map(files), 'variables/variables'))!;
}

describe('a bundle', () => {
  const tensors = [
    { name: 'layer/bias', dataType: FLOAT, shape: [2], bytes: floats(1, 2) },
    { name: 'layer/kernel', dataType: FLOAT, shape: [1, 2], bytes: floats(3, 4), shard: 1 },
  ];

  test('of several shards is read', async () => {
    const bundle = await open(tensors, { shards: 2 });

    expect(bundle.has('layer/kernel')).toBe(true);
    expect(bundle.has('layer')).toBe(false);
    expect(await bundle.tensor('layer/kernel').load()).toEqual({ dtype: 'float32', shape: [1, 2], data: Float32Array.of(3, 4) });
    expect(bundle.tensor('layer/bias')).toBe(bundle.tensor('layer/bias'));
  });

  test('of big-endian bytes is turned', async () => {
    const bundle = await open(
      [
        { name: 'a', dataType: FLOAT, shape: [2], bytes: bigEndian(1.5, -2) },
        { name: 'z', dataType: COMPLEX, shape: [], bytes: bigEndian(1, 2) },
      ],
      { isBigEndian: true },
    );

    expect((await bundle.tensor('a').load()).data).toEqual(Float32Array.of(1.5, -2));
    expect((await bundle.tensor('z').load()).data).toEqual(Float32Array.of(1, 2));
  });

  test('with a compressed index is read', async () => {
    const literal = (block: Uint8Array) =>
      Uint8Array.of((block.length & 127) | 128, block.length >> 7, 61 << 2, (block.length - 1) & 255, (block.length - 1) >> 8, ...block);

    const bundle = await open(tensors, { shards: 2, compress: literal });

    expect((await bundle.tensor('layer/bias').load()).data).toEqual(Float32Array.of(1, 2));
  });

  test('gives a part of a tensor that is stored whole', async () => {
    const bundle = await open([{ name: 'm', dataType: FLOAT, shape: [2, 3], bytes: floats(0, 1, 2, 10, 11, 12) }]);

    const columns = bundle.tensor('m', [
      { start: 0, length: -1 },
      { start: 1, length: 2 },
    ]);

    expect(await columns.load()).toEqual({ dtype: 'float32', shape: [2, 2], data: Float32Array.of(1, 2, 11, 12) });
    expect(() =>
      bundle.tensor('m', [
        { start: 1, length: 2 },
        { start: 0, length: -1 },
      ]),
    ).toThrow(expect.objectContaining({ code: 'invalid-argument' }));
  });

  test('refuses a tensor whose length is not that of its shape, or that leaves its shard', async () => {
    const wrong = await open([{ name: 'm', dataType: FLOAT, shape: [3], bytes: floats(1, 2) }]);
    const absurd = await open([{ name: 'm', dataType: FLOAT, shape: [2 ** 40, 2 ** 40], bytes: floats(1, 2) }]);

    for (const bundle of [wrong, absurd]) expect(() => bundle.tensor('m')).toThrow(expect.objectContaining({ code: 'invalid-argument' }));
  });

  test('is absent where there is no index', async () => {
    expect(await openBundle(new Map(), 'variables/variables')).toBeUndefined();
  });
});

// Values of RFC 3720, appendix B.4.
test.each([
  ['32 zeros', new Uint8Array(32), 0x8a9136aa],
  ['32 ones', new Uint8Array(32).fill(255), 0x62a8ab43],
  ['0 to 31', Uint8Array.from({ length: 32 }, (_, i) => i), 0x46dd794e],
  ['31 to 0', Uint8Array.from({ length: 32 }, (_, i) => 31 - i), 0x113fdb5c],
])('crc32c of %s', (_, bytes, expected) => {
  expect(crc32c(bytes)).toBe(expected);
  expect(crc32c(bytes.subarray(13), crc32c(bytes.subarray(0, 13)))).toBe(expected);
});

// Of tensorflow/core/lib/strings/ordered_code_test.cc and the format's definition.
test('the key of a part sorts as the part does', () => {
  const key = sliceKey('a\0', [
    { start: 0, length: -1 },
    { start: 63, length: 64 },
    { start: 8192, length: 1 },
  ]);

  expect([...key]).toEqual([0, 97, 0, 255, 0, 1, 1, 3, 0x80, 0x7f, 0xbf, 0xc0, 0x40, 0xe0, 0x20, 0x00, 0x81]);
});

describe('Snappy', () => {
  test('copies may overlap what they write', () => {
    // 'ab', then 6 bytes from 2 before, then 4 from 8 before.
    const bytes = Uint8Array.of(12, 1 << 2, 97, 98, (2 << 2) | 1, 2, (3 << 2) | 2, 8, 0);

    expect(new TextDecoder().decode(decodeSnappy(bytes, 100))).toBe('abababababab');
  });

  test.each([
    ['an offset before the start', [4, 0, 97, (2 << 2) | 1, 9]],
    ['more bytes than it says', [1, 1 << 2, 97, 98]],
    ['fewer bytes than it says', [9, 1 << 2, 97, 98]],
    ['a literal that is cut off', [9, 8 << 2, 97]],
    ['a length above the limit', [0xff, 0xff, 0xff, 0xff, 0x0f]],
    ['nothing', []],
  ])('refuses %s', (_, bytes) => {
    expect(() => decodeSnappy(Uint8Array.from(bytes), 100)).toThrow(expect.objectContaining({ code: 'invalid-argument' }));
  });
});

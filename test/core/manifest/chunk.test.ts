import { describe, expect, test } from 'vitest';
import { type ByteRange, cutChunks, cutStream, describeFile, digestOf } from '../../../src/core/index.ts';
import { noise } from '../../support/small-repository.ts';

const KIB = 2 ** 10;
const MIB = 2 ** 20;

describe('cutting by content', () => {
  const bytes = noise(24 * MIB, 7);

  test('covers the file, each chunk between 256 KiB and 2 MiB but for the last, about 1 MiB on average', () => {
    const chunks = cutChunks(bytes);

    expect(coveredBytes(chunks)).toBe(bytes.byteLength);
    for (const { start, end } of chunks.slice(0, -1)) {
      expect(end - start).toBeGreaterThanOrEqual(256 * KIB);
      expect(end - start).toBeLessThanOrEqual(2 * MIB);
    }
    expect(bytes.byteLength / chunks.length).toBeGreaterThan(0.75 * MIB);
    expect(bytes.byteLength / chunks.length).toBeLessThan(1.5 * MIB);
  });

  test('keeps every chunk but those around an insertion', async () => {
    const at = 9 * MIB + 12_345;
    const changed = join(bytes.subarray(0, at), Uint8Array.of(1, 2, 3), bytes.subarray(at));

    const before = await digests(bytes);
    const after = await digests(changed);

    const added = after.filter((digest) => !before.includes(digest));
    expect(added.length).toBeGreaterThan(0);
    expect(added.length).toBeLessThanOrEqual(2);
  });

  test('cuts these bytes here: the table and the masks are part of the format', () => {
    const cuts = cutChunks(bytes.subarray(0, 4 * MIB)).map(({ end }) => end);

    expect(cuts).toMatchInlineSnapshot(`
      [
        917261,
        2351317,
        3662552,
        4194304,
      ]
    `);
  });

  test('cuts bytes without any variation at the largest size', () => {
    const sizes = cutChunks(new Uint8Array(5 * MIB)).map(({ start, end }) => end - start);

    expect(sizes).toEqual([2 * MIB, 2 * MIB, MIB]);
  });

  test('leaves a small file whole and an empty one without chunks', async () => {
    expect(cutChunks(noise(256 * KIB, 1))).toEqual([{ start: 0, end: 256 * KIB }]);
    expect(await describeFile(new Uint8Array())).toMatchObject({ bytes: 0, chunks: [] });
  });
});

describe('cutting at tensors', () => {
  test('a changed head changes the chunks of the head alone', async () => {
    const body = 3 * MIB + 777;
    const head = 200 * KIB;
    const bytes = noise(body + head + MIB, 3);
    const tensors = [range(0, body), range(body, head), range(body + head, MIB)];
    const changed = bytes.slice();
    changed.set(noise(head, 99), body);

    const before = await describeFile(bytes, tensors);
    const after = await describeFile(changed, tensors);

    const known = new Set(before.chunks.map(([, digest]) => digest));
    const missing = after.chunks.filter(([, digest]) => !known.has(digest));
    expect(missing.reduce((sum, [length]) => sum + length, 0)).toBe(head);
  });

  test('a head of another size leaves the other tensors alone too', async () => {
    const [body, tail] = [noise(2 * MIB, 4), noise(MIB, 5)];
    const withHead = (head: Uint8Array) => ({
      bytes: join(body, head, tail),
      tensors: [range(0, body.length), range(body.length, head.length), range(body.length + head.length, tail.length)],
    });
    const old = withHead(noise(100 * KIB, 6));
    const next = withHead(noise(300 * KIB, 7));

    const known = new Set((await describeFile(old.bytes, old.tensors)).chunks.map(([, digest]) => digest));
    const missing = (await describeFile(next.bytes, next.tensors)).chunks.filter(([, digest]) => !known.has(digest));

    expect(missing.reduce((sum, [length]) => sum + length, 0)).toBe(300 * KIB);
  });

  test('thousands of small tensors make no small chunks', () => {
    const sizes = Array.from({ length: 4000 }, (_, index) => (index % 2 === 0 ? 66 * KIB : 256));
    const chunks = cutChunks(new Uint8Array(sum(sizes)), rangesOf(sizes));

    expect(coveredBytes(chunks)).toBe(sum(sizes));
    expect(Math.min(...chunks.map(({ start, end }) => end - start))).toBeGreaterThanOrEqual(64 * KIB);
  });

  test('tensors under 64 KiB are cut by content like any bytes', () => {
    const sizes = Array.from({ length: 2000 }, () => 4 * KIB);
    const bytes = noise(sum(sizes), 8);

    expect(cutChunks(bytes, rangesOf(sizes))).toEqual(cutChunks(bytes));
  });

  test('no piece under 64 KiB is left at the end of a tensor', () => {
    for (let extra = 1; extra < 80 * KIB; extra += 7 * KIB) {
      const chunks = cutChunks(new Uint8Array(2 * MIB + extra));

      expect(coveredBytes(chunks)).toBe(2 * MIB + extra);
      expect(Math.min(...chunks.map(({ start, end }) => end - start))).toBeGreaterThanOrEqual(64 * KIB);
      expect(Math.max(...chunks.map(({ start, end }) => end - start))).toBeLessThanOrEqual(2 * MIB);
    }
  });
});

function join(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(sum(parts.map(({ length }) => length)));
  for (let index = 0, at = 0; index < parts.length; at += parts[index]!.length, index++) bytes.set(parts[index]!, at);
  return bytes;
}

function range(start: number, length: number): ByteRange {
  return { start, end: start + length };
}

function rangesOf(sizes: readonly number[]): ByteRange[] {
  let start = 0;
  return sizes.map((size) => {
    start += size;
    return { start: start - size, end: start };
  });
}

function sum(sizes: readonly number[]): number {
  return sizes.reduce((total, size) => total + size, 0);
}

/** The length of the chunks, after checking that they lie side by side. */
function coveredBytes(chunks: readonly ByteRange[]): number {
  return chunks.reduce((position, { start, end }) => {
    expect(start).toBe(position);
    return end;
  }, 0);
}

async function digests(bytes: Uint8Array<ArrayBuffer>): Promise<string[]> {
  return Promise.all(cutChunks(bytes).map(({ start, end }) => digestOf(bytes.subarray(start, end))));
}

describe('cutting a file that comes in parts', () => {
  const bytes = noise(12 * MIB + 5, 11);
  const tensors = [
    { start: 40, end: 3 * MIB },
    { start: 3 * MIB, end: 3 * MIB + 70 * KIB },
    { start: 9 * MIB, end: 12 * MIB },
  ];

  test.each([1000, 65_536, 5 * MIB, 13 * MIB])('gives the chunks of the whole file, with parts of %i bytes', async (partBytes) => {
    const parts = (async function* () {
      for (let start = 0; start < bytes.byteLength; start += partBytes) yield bytes.subarray(start, start + partBytes);
    })();
    let position = 0;
    const cuts: ByteRange[] = [];
    for await (const chunk of cutStream(parts, bytes.byteLength, tensors)) {
      cuts.push({ start: position, end: position + chunk.byteLength });
      expect(Buffer.compare(chunk, bytes.subarray(position, position + chunk.byteLength))).toBe(0);
      position += chunk.byteLength;
    }

    expect(cuts).toEqual(cutChunks(bytes, tensors));
  });

  test('an empty file has no chunk; one longer or shorter than announced is refused', async () => {
    const cut = async (announced: number, ...parts: Uint8Array[]) => {
      const stream = (async function* () {
        yield* parts;
      })();
      const chunks: Uint8Array[] = [];
      for await (const chunk of cutStream(stream, announced)) chunks.push(chunk);
      return chunks;
    };

    expect(await cut(0)).toEqual([]);
    await expect(cut(10, new Uint8Array(9))).rejects.toMatchObject({ code: 'invalid-argument', details: { want: 10, got: 9 } });
    await expect(cut(10, new Uint8Array(11))).rejects.toMatchObject({ code: 'invalid-argument' });
    await expect(cut(10, bytes)).rejects.toMatchObject({ code: 'invalid-argument' });
  });
});

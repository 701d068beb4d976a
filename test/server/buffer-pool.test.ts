import { expect, test } from 'vitest';
import { BufferPool } from '../../src/server/buffer-pool.ts';
import { releaseBuffer } from '../../src/server/release-buffer.ts';

const kib = 2 ** 10;

test('a buffer that came back is lent again, for about its own size', () => {
  const pool = new BufferPool();
  const buffer = pool.take(100 * kib);

  pool.give(buffer);

  expect(buffer.byteLength).toBe(128 * kib);
  expect(pool.freeBytes).toBe(128 * kib);
  expect(pool.take(63 * kib)).not.toBe(buffer);
  expect(pool.take(129 * kib)).not.toBe(buffer);
  expect(pool.take(128 * kib)).toBe(buffer);
  expect(pool.take(128 * kib)).not.toBe(buffer);
  expect(pool.freeBytes).toBe(0);
});

test('only what is lent may move', () => {
  const pool = new BufferPool();
  const buffer = pool.take(1);

  expect([pool.isLent(buffer), pool.isLent(new ArrayBuffer(8))]).toEqual([true, false]);
  pool.give(buffer);
  expect(pool.isLent(buffer)).toBe(false);
});

test('the oldest buffers go when more wait than the limit allows; small and huge ones are not kept', () => {
  const pool = new BufferPool({ limitBytes: 256 * kib });
  const buffers = [64, 128, 128].map((size) => pool.take(size * kib));

  for (const buffer of buffers) pool.give(buffer);
  pool.give(new ArrayBuffer(63 * kib));
  pool.give(new ArrayBuffer(17 * 2 ** 20));

  expect(pool.freeBytes).toBe(256 * kib);
  const [first, second, third] = [pool.take(64 * kib), pool.take(64 * kib), pool.take(64 * kib)];
  expect([first === buffers[2], second === buffers[1], third === buffers[0]]).toEqual([true, true, false]);
});

test('adopted bytes lie aligned in a buffer of their own, a lent one unless they are few', () => {
  const pool = new BufferPool();
  const bytes = Uint8Array.from({ length: 100 * kib }, (_, index) => index).subarray(3);
  const few = Buffer.from(bytes.buffer, 3, 100);

  const adopted = pool.adopt(bytes);

  expect(adopted).toEqual(bytes);
  expect(adopted.byteOffset).toBe(0);
  expect(pool.isLent(adopted.buffer)).toBe(true);
  expect(pool.adopt(few)).toEqual(new Uint8Array(few));
  expect(pool.adopt(few).buffer.byteLength).toBe(100);
});

test('a released buffer is gone at once; one that may not move stays', () => {
  const bytes = new Uint8Array(100);
  const part = Buffer.from('a part of what Node hands out');

  releaseBuffer(bytes.buffer);
  releaseBuffer(bytes.buffer);
  releaseBuffer(part.buffer);

  expect([bytes.length, bytes.buffer.byteLength, part.toString()]).toEqual([0, 0, 'a part of what Node hands out']);
});

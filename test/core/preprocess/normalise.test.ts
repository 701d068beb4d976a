import { expect, test } from 'vitest';
import { normalise, type RgbImage } from '../../../src/core/index.ts';

const plain = { scale: 1, mean: [0, 0, 0], std: [1, 1, 1] };
const imageNet = { scale: 1 / 255, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

function image(width: number, height: number, ...data: number[]): RgbImage {
  return { width, height, data: Uint8Array.from(data) };
}

test('keeps channels last or puts them first', () => {
  const images = [image(2, 1, 1, 2, 3, 4, 5, 6), image(2, 1, 7, 8, 9, 10, 11, 12)];

  const last = normalise(images, { layout: 'NHWC', ...plain });
  const first = normalise(images, { layout: 'NCHW', ...plain });

  expect(last).toEqual({ dtype: 'float32', shape: [2, 1, 2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12) });
  expect(first).toEqual({ dtype: 'float32', shape: [2, 3, 1, 2], data: Float32Array.of(1, 4, 2, 5, 3, 6, 7, 10, 8, 11, 9, 12) });
});

// The closing figures are numpy's (numpy.float64([0, 255]) / 255 - 0.485) / 0.229, the range of red under ImageNet's constants.
test('computes in doubles and rounds once to float32', () => {
  const grey = [0, 1, 128, 255].flatMap((value) => [value, value, value]);

  const { data } = normalise([image(4, 1, ...grey)], { layout: 'NCHW', ...imageNet });

  const reference = imageNet.mean.flatMap((mean, channel) =>
    [0, 1, 128, 255].map((value) => Math.fround((value * imageNet.scale - mean) / imageNet.std[channel]!)),
  );
  expect([...data]).toEqual(reference);
  expect(data[0]).toBeCloseTo(-2.1179039, 6);
  expect(data[3]).toBeCloseTo(2.2489083, 6);
});

test('writes into the memory it is given, all of it', () => {
  const into = new Float32Array(6).fill(9);

  const { data } = normalise([image(2, 1, 1, 2, 3, 4, 5, 6)], { layout: 'NCHW', ...plain }, into);

  expect(data).toBe(into);
  expect(into).toEqual(Float32Array.of(1, 4, 2, 5, 3, 6));
  expect(() => normalise([image(1, 1, 1, 2, 3)], { layout: 'NCHW', ...plain }, into)).toThrow(
    expect.objectContaining({ code: 'shape-mismatch' }),
  );
});

test('refuses an empty batch and images that differ in size', () => {
  const two = [image(1, 1, 1, 2, 3), image(1, 2, 1, 2, 3, 4, 5, 6)];

  expect(() => normalise([], { layout: 'NHWC', ...plain })).toThrow(expect.objectContaining({ code: 'invalid-argument' }));
  expect(() => normalise(two, { layout: 'NHWC', ...plain })).toThrow(expect.objectContaining({ code: 'shape-mismatch' }));
});

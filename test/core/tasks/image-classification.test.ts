import { expect, test } from 'vitest';
import {
  type AnyTensor,
  createTensor,
  decodeClassification,
  encodeImages,
  type ImageInput,
  imageClassification,
  type Pixels,
  prepareImage,
  resizeBilinear,
  toPrepared,
} from '../../../src/core/index.ts';

const input: ImageInput = {
  name: 'image',
  resize: { shorterSide: 8, filter: 'bilinear', antialias: true },
  crop: [6, 4],
  layout: 'NHWC',
  scale: 1 / 255,
  mean: [0, 0, 0],
  std: [1, 1, 1],
};

function picture(width: number, height: number, channels: 3 | 4 = 3): Pixels {
  const data = Uint8Array.from({ length: width * height * channels }, (_, index) => (index * 37) % 256);
  return { width, height, channels, data };
}

test('resizes by the shorter side and crops the middle', () => {
  const pixels = picture(31, 17);

  const image = prepareImage(pixels, input);

  // 31x17 becomes 15x8 (8 / 17 of each side), of which 4x6 begin at 5, 1
  const expected = resizeBilinear(pixels, { width: 15, height: 8 }, { left: 5, top: 1, width: 4, height: 6 });
  expect(image).toEqual(expected);
  expect(image).toMatchObject({ width: 4, height: 6 });
});

test('resizes to an exact size, height first', () => {
  const pixels = picture(31, 17);

  const image = prepareImage(pixels, { ...input, resize: { size: [6, 4], filter: 'bilinear', antialias: true } });

  expect(image).toEqual(resizeBilinear(pixels, { width: 4, height: 6 }));
});

test('lays alpha on white before it resizes', () => {
  const transparent: Pixels = { width: 1, height: 1, channels: 4, data: Uint8Array.of(0, 0, 0, 0) };

  const image = prepareImage(transparent, input);

  expect(image.data).toEqual(new Uint8Array(6 * 4 * 3).fill(255));
});

test('takes a picture of one row of many columns without computing what the crop leaves out', () => {
  const image = prepareImage(picture(50_000, 1), input);

  expect(image).toMatchObject({ width: 4, height: 6 });
});

test.each([
  ['no columns', { width: 0, height: 3, channels: 3, data: new Uint8Array() }, 'invalid-argument'],
  ['half a row', { width: 2, height: 1.5, channels: 3, data: new Uint8Array(9) }, 'invalid-argument'],
  ['too few bytes', { width: 2, height: 2, channels: 4, data: new Uint8Array(12) }, 'shape-mismatch'],
] as const)('refuses a picture of %s', (_, pixels, code) => {
  expect(() => prepareImage(pixels, input)).toThrow(expect.objectContaining({ code }));
});

test('refuses a crop that the resized picture cannot hold', () => {
  const prepare = () => prepareImage(picture(9, 9), { ...input, crop: [8, 9] });

  expect(prepare).toThrow(expect.objectContaining({ code: 'shape-mismatch' }));
});

test('prepares decoded pixels and takes a prepared image as it is', () => {
  const pixels = picture(31, 17);
  const image = prepareImage(pixels, input);

  expect(toPrepared(pixels, input)).toEqual(image);
  expect(toPrepared(image, input)).toBe(image);
});

test('encodes prepared images as one batch and refuses any other size', () => {
  const image = prepareImage(picture(20, 20), input);

  const batch = encodeImages([image, image], { ...input, layout: 'NCHW' });

  expect(batch.shape).toEqual([2, 3, 6, 4]);
  expect(batch.data[0]).toBe(Math.fround(image.data[0]! / 255));
  const swapped = { ...image, width: 6, height: 4 };
  expect(() => encodeImages([swapped], input)).toThrow(
    expect.objectContaining({ code: 'shape-mismatch', message: expect.stringContaining('"image"') }),
  );
  expect(() => encodeImages([{ ...image, data: image.data.subarray(3) }], input)).toThrow(
    expect.objectContaining({ code: 'shape-mismatch' }),
  );
  expect(() => encodeImages([], input)).toThrow(expect.objectContaining({ code: 'invalid-argument' }));
});

test('names the best classes of each image', () => {
  const logits = createTensor('float32', [2, 3], Float32Array.of(0, Math.log(2), 0, 5, 5, -5));

  const answers = decodeClassification(logits, { activation: 'softmax', labels: ['cat', 'dog', 'ant'], topK: 2 });

  expect(answers).toEqual([
    [
      { label: 'dog', index: 1, score: expect.closeTo(0.5, 6) },
      { label: 'cat', index: 0, score: expect.closeTo(0.25, 6) },
    ],
    [
      { label: 'cat', index: 0, score: expect.closeTo(0.5, 4) },
      { label: 'dog', index: 1, score: expect.closeTo(0.5, 4) },
    ],
  ]);
});

test('uses the index where there are no labels and leaves out dimensions of 1 in between', () => {
  const output = createTensor('float32', [1, 1, 1, 2], Float32Array.of(0.25, 0.75));

  const answers = decodeClassification(output, { activation: 'none', topK: 9 });

  expect(answers).toEqual([
    [
      { label: '1', index: 1, score: 0.75 },
      { label: '0', index: 0, score: 0.25 },
    ],
  ]);
});

test('answers an empty batch with no answers', () => {
  expect(decodeClassification(createTensor('float32', [0, 5], new Float32Array()), { activation: 'softmax', topK: 1 })).toEqual([]);
});

const scores = createTensor('float32', [1, 2], Float32Array.of(0, 1));

test.each<[string, AnyTensor, string]>([
  ['another dtype', createTensor('int32', [1, 2], Int32Array.of(0, 1)), 'dtype-mismatch'],
  ['a picture for an answer', createTensor('float32', [1, 2, 2, 1], new Float32Array(4)), 'shape-mismatch'],
  ['no batch dimension', createTensor('float32', [2], Float32Array.of(0, 1)), 'shape-mismatch'],
  ['no classes', createTensor('float32', [1, 0], new Float32Array()), 'shape-mismatch'],
  ['NaN', createTensor('float32', [1, 2], Float32Array.of(Number.NaN, 1)), 'internal'],
  ['an infinite logit', createTensor('float32', [1, 2], Float32Array.of(Number.POSITIVE_INFINITY, 1)), 'internal'],
])('refuses %s and names the output', (_, tensor, code) => {
  const decode = () => decodeClassification(tensor, { activation: 'softmax', topK: 1, output: 'probabilities' });

  expect(decode).toThrow(expect.objectContaining({ code, message: expect.stringContaining('"probabilities"') }));
});

test('refuses labels that do not match the classes one to one', () => {
  const decode = () => decodeClassification(scores, { activation: 'none', labels: ['background', 'cat', 'dog'], topK: 1 });

  expect(decode).toThrow(expect.objectContaining({ code: 'shape-mismatch', details: { output: 'scores', want: 2, got: 3 } }));
});

test('is one task of three steps', () => {
  expect(imageClassification).toEqual({ name: 'image-classification', prepareImage, encodeImages, decodeClassification });
});

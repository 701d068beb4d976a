import { NearfarError } from '../errors.ts';
import { createTensor, type Tensor } from '../tensor/index.ts';
import type { RgbImage } from './pixels.ts';

export interface Normalisation {
  readonly layout: 'NHWC' | 'NCHW';
  /** Value = (pixel * scale - mean) / std, per channel. */
  readonly scale: number;
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/**
 * Turns images of one size into one batch: `(pixel * scale − mean) / std` in IEEE doubles, then rounded once to float32.
 * @returns float32, shape `[images, height, width, 3]` (NHWC) or `[images, 3, height, width]` (NCHW).
 * @throws {NearfarError} `invalid-argument` without an image; `shape-mismatch` when the images differ in size.
 */
export function normalise(images: readonly RgbImage[], { layout, scale, mean, std }: Normalisation): Tensor<'float32'> {
  const [first] = images;
  if (first === undefined) throw new NearfarError('invalid-argument', 'a batch holds at least one image, got none');
  const { width, height } = first;
  const area = width * height;
  const out = new Float32Array(images.length * area * 3);
  const pixelStep = layout === 'NHWC' ? 3 : 1;
  const channelStep = layout === 'NHWC' ? 1 : area;
  // A pixel has 256 values: looking them up is the same number, several times faster than two operations per element.
  const tables = [0, 1, 2].map((channel) =>
    Float32Array.from({ length: 256 }, (_, pixel) => (pixel * scale - mean[channel]!) / std[channel]!),
  );
  for (const [index, image] of images.entries()) {
    assertSameSize(image, first, index);
    for (const [channel, table] of tables.entries()) {
      const { data } = image;
      let to = index * area * 3 + channel * channelStep;
      for (let from = channel; from < data.length; from += 3, to += pixelStep) out[to] = table[data[from]!]!;
    }
  }
  const shape = layout === 'NHWC' ? [images.length, height, width, 3] : [images.length, 3, height, width];
  return createTensor('float32', shape, out);
}

function assertSameSize(image: RgbImage, { width, height }: RgbImage, index: number): void {
  if (image.width === width && image.height === height && image.data.length === width * height * 3) return;
  throw new NearfarError(
    'shape-mismatch',
    `image ${index} of a batch has ${image.width}x${image.height} pixels in ${image.data.length} bytes, the first has ${width}x${height}`,
    { details: { index, want: [height, width, 3], got: [image.height, image.width, 3] } },
  );
}

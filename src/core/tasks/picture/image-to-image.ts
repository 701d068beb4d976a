import type { TaskSpecs } from '../../manifest/index.ts';
import { type Pixels, type RgbImage, resizeBilinear } from '../../preprocess/index.ts';
import type { Tensor } from '../../tensor/index.ts';
import { parseTask } from '../parse-task.ts';
import { assertCount, floatOutput, type OpenedTask, type TaskSource, wrongShape } from '../task.ts';
import { encodePictures, frameOf, type PreparedPicture, picturesOf, regionOf } from './whole-picture.ts';

/** Image to image: a picture → another one. */
export function openImageToImage({ manifest }: TaskSource): OpenedTask<Pixels | PreparedPicture, object, RgbImage> {
  const { signature, input, output } = parseTask(manifest, 'image-to-image');
  return {
    signature,
    outputs: [output.name],
    encode: (pictures) => encodePictures(pictures, input),
    decode: (outputs, batch) => {
      const tensor = floatOutput(outputs, output.name, [4]);
      assertCount(output.name, tensor.shape, batch);
      return picturesOf(batch).map((picture, index) => {
        const image = toImage(tensor, output, index);
        const frame = frameOf(input.resize);
        const region = regionOf(picture, input.resize);
        const [across, down] = [image.width / frame.width, image.height / frame.height];
        const size =
          output.size === 'picture' ? picture : { width: Math.round(region.width * across), height: Math.round(region.height * down) };
        // Resizing the whole frame by the factor of its part, and cutting that part out.
        const whole = {
          width: Math.round((size.width * frame.width) / region.width),
          height: Math.round((size.height * frame.height) / region.height),
        };
        const left = Math.min(whole.width - size.width, Math.round((region.left * whole.width) / frame.width));
        const top = Math.min(whole.height - size.height, Math.round((region.top * whole.height) / frame.height));
        return resizeBilinear({ ...image, channels: 3 }, whole, { left, top, ...size });
      });
    },
  };
}

/** `(value · std + mean) / scale`, rounded to the nearest integer, 0–255; a single channel is grey. */
function toImage(
  { shape, data }: Tensor<'float32'>,
  { name, layout, scale, mean, std }: TaskSpecs['image-to-image']['output'],
  index: number,
): RgbImage {
  const [, a = 0, b = 0, c = 0] = shape;
  const [height, width, channels] = layout === 'NHWC' ? [a, b, c] : [b, c, a];
  const area = height * width;
  if (area === 0 || (channels !== 1 && channels !== 3)) throw wrongShape(name, 'with 1 or 3 channels', shape);
  const [pixelStep, channelStep] = layout === 'NHWC' ? [channels, 1] : [1, area];
  const out = new Uint8Array(area * 3);
  for (let pixel = 0, from = index * area * channels; pixel < area; pixel++, from += pixelStep) {
    for (let channel = 0; channel < 3; channel++) {
      const value = data[from + (channels === 1 ? 0 : channel * channelStep)]!;
      const level = Math.floor((value * std[channel]! + mean[channel]!) / scale + 0.5);
      out[pixel * 3 + channel] = level > 0 ? Math.min(level, 255) : 0;
    }
  }
  return { width, height, data: out };
}

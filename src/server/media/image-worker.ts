import type { ImageInput, RgbImage } from '../../core/index.ts';
import { serveCalls } from '../call-worker.ts';
import { prepareImageHere } from './prepare-image.ts';

/** What the image worker is asked. */
export interface ImageJob {
  readonly bytes: Uint8Array;
  readonly input: ImageInput;
}

serveCalls<ImageJob, RgbImage>(async ({ bytes, input }, signal) => {
  const image = await prepareImageHere(bytes, input, { signal });
  // A copy: an image that needed no resizing may lie in the decoder's own buffer, which cannot be moved.
  const data = new Uint8Array(image.data);
  return { answer: { ...image, data }, transfer: [data.buffer] };
});

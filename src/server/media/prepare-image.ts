import { type ImageInput, imageClassification, type RgbImage } from '../../core/index.ts';
import { decodeImage } from './decode-image.ts';

/**
 * Encoded picture → the pixels the model sees.
 * @throws {NearfarError} what `decodeImage` and `prepareImage` throw; rejects with `signal.reason` when aborted.
 */
export type PrepareImage = (
  bytes: Uint8Array,
  input: ImageInput,
  options?: { readonly signal?: AbortSignal | undefined },
) => Promise<RgbImage>;

/** Does it in this thread, which a picture of 12 megapixels blocks for some tenths of a second. */
export const prepareImageHere: PrepareImage = async (bytes, input, options) =>
  imageClassification.prepareImage(await decodeImage(bytes, options), input);

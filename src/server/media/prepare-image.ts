import type { ImageInput, PictureInput, PreparedPicture } from '../../core/index.ts';
import { preparePicture } from '../../core/tasks/picture/index.ts';
import { decodeImage } from './decode-image.ts';

/**
 * Encoded picture → the pixels the model sees, and the size that the picture has.
 * @throws {NearfarError} what `decodeImage` and `preparePicture` throw; rejects with `signal.reason` when aborted.
 */
export type PrepareImage = (
  bytes: Uint8Array,
  input: ImageInput | PictureInput,
  options?: { readonly signal?: AbortSignal | undefined },
) => Promise<PreparedPicture>;

/** Does it in this thread, which a picture of 12 megapixels blocks for some tenths of a second. */
export const prepareImageHere: PrepareImage = async (bytes, input, options) => preparePicture(await decodeImage(bytes, options), input);

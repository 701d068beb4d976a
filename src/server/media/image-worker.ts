import type { ImageInput, PictureInput, PreparedPicture } from '../../core/index.ts';
import { serveCalls } from '../call-worker.ts';
import { answerPictureHere, type PictureAnswer, type PictureAnswerJob } from './answer-picture.ts';
import { prepareImageHere } from './prepare-image.ts';

/** What the image worker is asked. */
export type ImageJob =
  | { readonly kind: 'prepare'; readonly bytes: Uint8Array; readonly input: ImageInput | PictureInput }
  | { readonly kind: 'answer'; readonly job: PictureAnswerJob };

serveCalls<ImageJob, PreparedPicture | PictureAnswer>(async (asked, signal) => {
  if (asked.kind === 'answer') {
    const answer = await answerPictureHere(asked.job);
    return { answer, transfer: answer.bytes ? [answer.bytes.buffer] : [] };
  }
  const { image, picture } = await prepareImageHere(asked.bytes, asked.input, { signal });
  // A copy: an image that needed no resizing may lie in the decoder's own buffer, which cannot be moved.
  const data = new Uint8Array(image.data);
  return { answer: { image: { ...image, data }, picture }, transfer: [data.buffer] };
});

export { type AnsweredTask, type AnswerPicture, answerPictureHere, type PictureForm } from './answer-picture.ts';
export { assertPixelLimit, decodeImage } from './decode-image.ts';
export { ImageThread } from './image-thread.ts';
export { type PrepareImage, prepareImageHere } from './prepare-image.ts';

export { type DecodeImageOptions, decodeImage } from './decode-image.ts';

export { compositeOnWhite } from './composite.ts';
export { centreCrop, type Size, sizeByShorterSide } from './geometry.ts';
export { normalise } from './normalise.ts';
export { assertPixels, type Pixels, type RgbImage } from './pixels.ts';
export { resizeBilinear } from './resize.ts';

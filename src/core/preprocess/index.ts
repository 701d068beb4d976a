export { compositeOnWhite } from './composite.ts';
export { centreCrop, type Region, type Size, sizeByShorterSide } from './geometry.ts';
export { type Align, letterbox, placeInFrame } from './letterbox.ts';
export { normalise } from './normalise.ts';
export { assertPixels, type Pixels, type RgbImage } from './pixels.ts';
export { resizeBilinear } from './resize.ts';

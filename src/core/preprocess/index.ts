export type { Pixels, RgbImage } from './pixels.ts';

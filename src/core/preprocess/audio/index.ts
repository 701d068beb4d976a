export { extractFeatures, type Frames, type Logarithm, type SpectralFeatures } from './features.ts';
export type { MelBands } from './mel.ts';
export { resample } from './resample.ts';
export { fitLength, mixToMono, type Waveform } from './waveform.ts';

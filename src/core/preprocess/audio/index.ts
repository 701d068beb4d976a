export { extractFeatures, type SpectralFeatures } from './features.ts';
export { resample } from './resample.ts';
export { fitLength, mixToMono, type Waveform } from './waveform.ts';

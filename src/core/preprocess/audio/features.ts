import { NearfarError } from '../../errors.ts';
import { createPowerSpectrum } from './fft.ts';
import { createMelBands, type MelBands } from './mel.ts';

/** How samples become frames of bands. Lengths are in samples. */
export interface SpectralFeatures {
  readonly frameLength: number;
  readonly hop: number;
  /** Size of the transform, at least `frameLength`; a shorter frame is filled up with zeros. */
  readonly fft: number;
  readonly window: 'hann' | 'hamming' | 'none';
  /**
   * `none`: whole frames only, and `end`: the last ones filled up with zeros, both as `tf.signal.stft`. `reflect`, `zeros`: frames are
   * centred on their time, with half a transform mirrored or silent before and behind, as librosa's `center=True`.
   */
  readonly edges: 'none' | 'end' | 'reflect' | 'zeros';
  /** 1 for magnitudes, 2 for power. */
  readonly power: 1 | 2;
  /** Absent: the spectrum itself. */
  readonly mel?: MelBands | undefined;
  readonly log?: Logarithm | undefined;
  /** Cepstral coefficients of the logarithms: `htk` as `tf.signal.mfccs_from_log_mel_spectrograms`, `ortho` as librosa. */
  readonly mfcc?: { readonly coefficients: number; readonly norm: 'htk' | 'ortho' } | undefined;
}

export type Logarithm =
  /** `ln(x + offset)` */
  | { readonly kind: 'natural'; readonly offset: number }
  /** `10 · log10(max(x, floor))`, and no value lower than the highest less `range`: `librosa.power_to_db`. */
  | { readonly kind: 'decibels'; readonly floor: number; readonly range?: number | undefined };

export interface Frames {
  readonly frames: number;
  readonly bins: number;
  /** Frame by frame. */
  readonly data: Float64Array;
}

/**
 * Samples → spectra, mel bands, their logarithms or cepstral coefficients, in doubles.
 * @throws {NearfarError} `invalid-argument` for samples too few for one frame.
 */
export function extractFeatures(samples: Float64Array, sampleRate: number, features: SpectralFeatures): Frames {
  const { fft, hop, power, mel, log, mfcc } = features;
  const { signal, window, frames } = frame(samples, features);
  if (frames < 1) {
    throw new NearfarError('invalid-argument', `a frame has ${window.length} samples at ${sampleRate} Hz, got ${samples.length}`, {
      details: { want: window.length, got: samples.length },
    });
  }
  const transform = createPowerSpectrum(fft);
  const spectrum = new Float64Array(Math.floor(fft / 2) + 1);
  const toBands = mel ? createMelBands(mel, spectrum.length, sampleRate) : (values: Float64Array) => values;
  const bins = mel?.bins ?? spectrum.length;
  const data = new Float64Array(frames * bins);
  const buffer = new Float64Array(fft);
  for (let index = 0; index < frames; index++) {
    for (let at = 0; at < window.length; at++) buffer[at] = signal[index * hop + at]! * window[at]!;
    transform(buffer, spectrum);
    if (power === 1) for (let bin = 0; bin < spectrum.length; bin++) spectrum[bin] = Math.sqrt(spectrum[bin]!);
    data.set(toBands(spectrum), index * bins);
  }
  if (log) takeLogarithm(data, log);
  return mfcc ? cepstrum({ frames, bins, data }, mfcc) : { frames, bins, data };
}

/** The signal with its edges, the window over each frame of it, and how many frames there are. */
function frame(
  samples: Float64Array,
  { frameLength, hop, fft, window: kind, edges }: SpectralFeatures,
): { signal: Float64Array; window: Float64Array; frames: number } {
  if (edges === 'none' || edges === 'end') {
    // TensorFlow takes a window as periodic only where its length is even (window_ops.py, _raised_cosine_window).
    const window = windowOf(kind, frameLength, frameLength % 2 === 0 ? frameLength : frameLength - 1);
    if (edges === 'none') return { signal: samples, window, frames: 1 + Math.floor((samples.length - frameLength) / hop) };
    const frames = Math.ceil(samples.length / hop);
    const signal = new Float64Array(Math.max(samples.length, (frames - 1) * hop + frameLength));
    signal.set(samples);
    return { signal, window, frames };
  }
  const window = new Float64Array(fft);
  window.set(windowOf(kind, frameLength, frameLength), Math.floor((fft - frameLength) / 2));
  const half = Math.floor(fft / 2);
  const signal = new Float64Array(samples.length + 2 * half);
  signal.set(samples, half);
  if (edges === 'reflect') mirrorEdges(signal, half);
  return { signal, window, frames: samples.length === 0 ? 0 : 1 + Math.floor((signal.length - fft) / hop) };
}

/** Mirrors around the first and the last sample, which are not repeated; as often as it takes for a short signal (`numpy.pad`). */
function mirrorEdges(signal: Float64Array, half: number): void {
  const length = signal.length - 2 * half;
  const period = Math.max(1, 2 * (length - 1));
  for (let index = 0; index < signal.length; index++) {
    const at = (((index - half) % period) + period) % period;
    signal[index] = signal[half + (Math.min(at, period - at) % length)]!;
  }
}

function windowOf(kind: SpectralFeatures['window'], length: number, period: number): Float64Array {
  if (kind === 'none' || length === 1) return new Float64Array(length).fill(1);
  const [a, b] = kind === 'hann' ? [0.5, 0.5] : [0.54, 0.46];
  return Float64Array.from({ length }, (_, index) => a - b * Math.cos((2 * Math.PI * index) / period));
}

function takeLogarithm(data: Float64Array, log: Logarithm): void {
  if (log.kind === 'natural') {
    for (let index = 0; index < data.length; index++) data[index] = Math.log(data[index]! + log.offset);
    return;
  }
  let highest = Number.NEGATIVE_INFINITY;
  for (let index = 0; index < data.length; index++) {
    data[index] = 10 * Math.log10(Math.max(data[index]!, log.floor));
    highest = Math.max(highest, data[index]!);
  }
  const lowest = highest - (log.range ?? Number.POSITIVE_INFINITY);
  for (let index = 0; index < data.length; index++) data[index] = Math.max(data[index]!, lowest);
}

/** The discrete cosine transform of type 2, scaled by `√(2 / bins)`; `ortho` takes `√(1 / bins)` for the first coefficient. */
function cepstrum({ frames, bins, data }: Frames, { coefficients, norm }: NonNullable<SpectralFeatures['mfcc']>): Frames {
  const basis = new Float64Array(coefficients * bins);
  for (let coefficient = 0; coefficient < coefficients; coefficient++) {
    const scale = Math.sqrt((coefficient === 0 && norm === 'ortho' ? 1 : 2) / bins);
    for (let bin = 0; bin < bins; bin++)
      basis[coefficient * bins + bin] = scale * Math.cos((Math.PI * coefficient * (2 * bin + 1)) / (2 * bins));
  }
  const out = new Float64Array(frames * coefficients);
  for (let index = 0, to = 0; index < frames; index++) {
    for (let coefficient = 0; coefficient < coefficients; coefficient++, to++) {
      let sum = 0;
      for (let bin = 0; bin < bins; bin++) sum += basis[coefficient * bins + bin]! * data[index * bins + bin]!;
      out[to] = sum;
    }
  }
  return { frames, bins: coefficients, data: out };
}

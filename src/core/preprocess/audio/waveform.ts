import { NearfarError } from '../../errors.ts';

/** Sound as an `AudioBuffer` has it: samples from −1 to 1, an array per channel. */
export interface Waveform {
  /** Samples per second. */
  readonly sampleRate: number;
  readonly channels: readonly (Float32Array | Float64Array)[];
}

/**
 * The mean of all channels, as `librosa.to_mono`.
 * @throws {NearfarError} `invalid-argument` without a channel, for channels of different lengths, or a sample rate that is no whole number ≥ 1.
 */
export function mixToMono({ sampleRate, channels }: Waveform): Float64Array {
  const [first] = channels;
  if (first === undefined) throw new NearfarError('invalid-argument', 'a sound has at least one channel, got none');
  if (!Number.isSafeInteger(sampleRate) || sampleRate < 1) {
    throw new NearfarError('invalid-argument', `a sample rate is a whole number of at least 1, got ${sampleRate}`, {
      details: { got: sampleRate },
    });
  }
  const lengths = channels.map(({ length }) => length);
  if (lengths.some((length) => length !== first.length)) {
    throw new NearfarError('invalid-argument', `the channels of a sound have one length, got ${lengths.join(', ')}`, {
      details: { got: lengths },
    });
  }
  return Float64Array.from(first, (_, index) => channels.reduce((sum, channel) => sum + channel[index]!, 0) / channels.length);
}

/** The first `length` samples, with silence behind where there are fewer. */
export function fitLength(samples: Float64Array, length: number): Float64Array {
  if (samples.length >= length) return samples.subarray(0, length);
  const out = new Float64Array(length);
  out.set(samples);
  return out;
}

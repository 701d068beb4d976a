import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { extractFeatures, fitLength, mixToMono, resample, type SpectralFeatures } from '../../../src/core/preprocess/audio/index.ts';

interface FeatureCase {
  readonly library: string;
  readonly sampleRate: number;
  readonly samples: number;
  readonly features: SpectralFeatures;
  readonly shape: [number, number];
  readonly data: string;
}

interface ResampleCase {
  readonly from: number;
  readonly to: number;
  readonly samples: number;
  readonly data: string;
}

// Made by test/fixtures/audio/make.py.
const { features, resampled } = JSON.parse(readFileSync(new URL('../../fixtures/audio/cases.json', import.meta.url), 'utf8')) as {
  features: FeatureCase[];
  resampled: ResampleCase[];
};

/** The sound that make.py computes. */
function sound(length: number): Float64Array {
  return Float64Array.from({ length }, (_, i) => {
    const noise = ((i * i * 7919 + i * 104729) % 65537) / 65537 - 0.5;
    return Math.fround(0.5 * Math.sin((2 * Math.PI * (220 * i + (900 * i * i) / length)) / 16000) + 0.1 * noise);
  });
}

function bytesOf(base64: string): ArrayBuffer {
  return Uint8Array.from(Buffer.from(base64, 'base64')).buffer;
}

/** The largest |a − b| / (1 + |b|): the references are computed in float32. */
function difference(got: Float64Array, want: Float32Array | Float64Array): number {
  return [...want].reduce((most, value, index) => Math.max(most, Math.abs(value - got[index]!) / (1 + Math.abs(value))), 0);
}

test.each(features.map((one) => [one.library, JSON.stringify(one.features), one] as const))(
  'gives the features of %s within 1e-5: %s',
  (_, __, { samples, sampleRate, features: options, shape, data }) => {
    const got = extractFeatures(sound(samples), sampleRate, options);

    expect([got.frames, got.bins]).toEqual(shape);
    expect(difference(got.data, new Float32Array(bytesOf(data)))).toBeLessThan(1e-5);
  },
);

test.each(resampled.map((one) => [one.from, one.to, one.samples, one] as const))(
  'resamples from %i to %i Hz as SciPy (%i samples)',
  (from, to, samples, one) => {
    const want = new Float64Array(bytesOf(one.data));

    const got = resample(sound(samples), from, to);

    expect(got).toHaveLength(want.length);
    expect(difference(got, want)).toBeLessThan(1e-12);
  },
);

test('mixes channels to their mean and fits a sound to a length', () => {
  const mono = mixToMono({ sampleRate: 8000, channels: [Float32Array.of(1, 0, -1), Float32Array.of(0, 0.5, -0.5)] });

  expect([...mono]).toEqual([0.5, 0.25, -0.75]);
  expect([...fitLength(mono, 2)]).toEqual([0.5, 0.25]);
  expect([...fitLength(mono, 4)]).toEqual([0.5, 0.25, -0.75, 0]);
});

test('refuses sounds without channels, with uneven channels, with broken rates or too short for a frame', () => {
  const short = () =>
    extractFeatures(new Float64Array(9), 16000, { frameLength: 10, hop: 5, fft: 16, window: 'hann', edges: 'none', power: 2 });

  expect(() => mixToMono({ sampleRate: 8000, channels: [] })).toThrow(expect.objectContaining({ code: 'invalid-argument' }));
  expect(() => mixToMono({ sampleRate: 8000, channels: [new Float32Array(2), new Float32Array(3)] })).toThrow(/one length, got 2, 3/);
  expect(() => mixToMono({ sampleRate: 0.5, channels: [new Float32Array(2)] })).toThrow(/sample rate/);
  expect(short).toThrow('a frame has 10 samples at 16000 Hz, got 9');
});

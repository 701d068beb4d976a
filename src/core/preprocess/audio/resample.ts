/**
 * Changes the sample rate: `scipy.signal.resample_poly(samples, to, from)` with its defaults, in doubles. A low-pass filter of
 * `20 · max(up, down) + 1` taps (windowed sinc, Kaiser with β = 5) is applied in its phases; silence stands before and behind.
 * @param from, to Samples per second, whole numbers.
 * @returns `ceil(length · to / from)` samples; the same array where the rates are equal.
 */
export function resample(samples: Float64Array, from: number, to: number): Float64Array {
  const divisor = greatestCommonDivisor(from, to);
  const up = to / divisor;
  const down = from / divisor;
  if (up === down) return samples;
  const half = 10 * Math.max(up, down);
  const filter = lowPass(half, 1 / Math.max(up, down), up);
  const out = new Float64Array(Math.ceil((samples.length * up) / down));
  for (let index = 0; index < out.length; index++) {
    // Between the samples stand up − 1 zeros; only every up-th tap meets a sample.
    const centre = index * down + half;
    const last = Math.min(samples.length - 1, Math.floor(centre / up));
    let sum = 0;
    for (let sample = Math.max(0, Math.ceil((centre - 2 * half) / up)); sample <= last; sample++) {
      sum += samples[sample]! * filter[centre - sample * up]!;
    }
    out[index] = sum;
  }
  return out;
}

/** `scipy.signal.firwin(2 · half + 1, cutoff, window=('kaiser', 5.0)) · gain`; a cutoff of 1 is half the sample rate. */
function lowPass(half: number, cutoff: number, gain: number): Float64Array {
  const taps = Float64Array.from({ length: 2 * half + 1 }, (_, index) => {
    const x = index - half;
    return cutoff * sinc(cutoff * x) * besselI0(5 * Math.sqrt(1 - (x / half) ** 2));
  });
  const sum = taps.reduce((total, tap) => total + tap, 0);
  return taps.map((tap) => (tap / sum) * gain);
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/** The modified Bessel function of order 0 by its power series, which converges fast for the small arguments of a window. */
function besselI0(x: number): number {
  let term = 1;
  let sum = 1;
  for (let k = 1; term > sum * 1e-17; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

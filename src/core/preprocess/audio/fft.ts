/**
 * Power or magnitude of the spectrum of real frames of one length.
 * @param into `size / 2 + 1` squared magnitudes, overwritten.
 */
export type PowerSpectrum = (frame: Float64Array, into: Float64Array) => void;

/** The discrete Fourier transform of real frames of `size` samples, in doubles; any size, powers of two the fastest. */
export function createPowerSpectrum(size: number): PowerSpectrum {
  const real = new Float64Array(size);
  const imaginary = new Float64Array(size);
  const transform = createTransform(size);
  return (frame, into) => {
    real.set(frame);
    imaginary.fill(0);
    transform(real, imaginary);
    for (let bin = 0; bin < into.length; bin++) into[bin] = real[bin]! ** 2 + imaginary[bin]! ** 2;
  };
}

/** A transform in place. */
type Transform = (real: Float64Array, imaginary: Float64Array) => void;

function createTransform(size: number): Transform {
  return Number.isInteger(Math.log2(size)) ? createRadix2(size) : createBluestein(size);
}

/** Cooley and Tukey (1965), decimation in time, with bit-reversed order first. */
function createRadix2(size: number): Transform {
  const cosines = Float64Array.from({ length: size / 2 }, (_, index) => Math.cos((2 * Math.PI * index) / size));
  const sines = Float64Array.from({ length: size / 2 }, (_, index) => -Math.sin((2 * Math.PI * index) / size));
  const reversed = new Uint32Array(size);
  for (let index = 1; index < size; index++) reversed[index] = (reversed[index >> 1]! >> 1) | (index & 1 ? size >> 1 : 0);
  return (real, imaginary) => {
    for (let index = 0; index < size; index++) {
      const other = reversed[index]!;
      if (other <= index) continue;
      [real[index], real[other]] = [real[other]!, real[index]!];
      [imaginary[index], imaginary[other]] = [imaginary[other]!, imaginary[index]!];
    }
    for (let half = 1; half < size; half *= 2) {
      const step = size / (2 * half);
      for (let start = 0; start < size; start += 2 * half) {
        for (let index = 0; index < half; index++) {
          const a = start + index;
          const b = a + half;
          const cosine = cosines[index * step]!;
          const sine = sines[index * step]!;
          const re = real[b]! * cosine - imaginary[b]! * sine;
          const im = real[b]! * sine + imaginary[b]! * cosine;
          real[b] = real[a]! - re;
          imaginary[b] = imaginary[a]! - im;
          real[a] = real[a]! + re;
          imaginary[a] = imaginary[a]! + im;
        }
      }
    }
  };
}

/** Bluestein (1970): a transform of any size as a convolution, by transforms of a power of two. */
function createBluestein(size: number): Transform {
  const length = 2 ** Math.ceil(Math.log2(2 * size - 1));
  const transform = createRadix2(length);
  // The square modulo 2·size keeps the angle small, where its cosine is exact.
  const angles = Float64Array.from({ length: size }, (_, index) => (Math.PI * (index ** 2 % (2 * size))) / size);
  const chirpReal = angles.map(Math.cos);
  const chirpImaginary = angles.map(Math.sin);
  const filterReal = new Float64Array(length);
  const filterImaginary = new Float64Array(length);
  for (let index = 0; index < size; index++) {
    const mirrored = (length - index) % length;
    filterReal[index] = filterReal[mirrored] = chirpReal[index]!;
    filterImaginary[index] = filterImaginary[mirrored] = chirpImaginary[index]!;
  }
  transform(filterReal, filterImaginary);
  const re = new Float64Array(length);
  const im = new Float64Array(length);
  return (real, imaginary) => {
    re.fill(0);
    im.fill(0);
    for (let index = 0; index < size; index++) {
      re[index] = real[index]! * chirpReal[index]! + imaginary[index]! * chirpImaginary[index]!;
      im[index] = imaginary[index]! * chirpReal[index]! - real[index]! * chirpImaginary[index]!;
    }
    transform(re, im);
    // Conjugated before and after, the forward transform is the inverse.
    for (let index = 0; index < length; index++) {
      const product = re[index]! * filterReal[index]! - im[index]! * filterImaginary[index]!;
      im[index] = -(re[index]! * filterImaginary[index]! + im[index]! * filterReal[index]!);
      re[index] = product;
    }
    transform(re, im);
    for (let index = 0; index < size; index++) {
      const a = re[index]! / length;
      const b = -im[index]! / length;
      real[index] = a * chirpReal[index]! + b * chirpImaginary[index]!;
      imaginary[index] = b * chirpReal[index]! - a * chirpImaginary[index]!;
    }
  };
}

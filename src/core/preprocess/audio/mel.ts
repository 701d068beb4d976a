/** How frequencies become bands as an ear tells them apart. */
export interface MelBands {
  readonly bins: number;
  readonly lowHz: number;
  readonly highHz: number;
  /** HTK's formula, or that of Slaney's Auditory Toolbox: linear up to 1 kHz. */
  readonly scale: 'htk' | 'slaney';
  /** Where a band's triangle has straight sides: over mels as in TensorFlow, or over hertz as in librosa. */
  readonly triangles: 'mel' | 'hertz';
  /** Slaney: every band has the same area, not the same height. */
  readonly norm: 'none' | 'slaney';
}

/** A band: its weights from the spectrum's bin `first` on. */
interface Band {
  readonly first: number;
  readonly weights: Float64Array;
}

/**
 * Sums the bins of a spectrum into bands: `tf.signal.linear_to_mel_weight_matrix` (htk, mel, none) or `librosa.filters.mel` (hertz).
 * @param spectrumBins `fft / 2 + 1`.
 */
export function createMelBands(mel: MelBands, spectrumBins: number, sampleRate: number): (spectrum: Float64Array) => Float64Array {
  const bands = bandsOf(mel, spectrumBins, sampleRate);
  return (spectrum) =>
    Float64Array.from(bands, ({ first, weights }) => {
      let sum = 0;
      for (let index = 0; index < weights.length; index++) sum += weights[index]! * spectrum[first + index]!;
      return sum;
    });
}

function bandsOf({ bins, lowHz, highHz, scale, triangles, norm }: MelBands, spectrumBins: number, sampleRate: number): Band[] {
  const toMel = scale === 'htk' ? hertzToHtk : hertzToSlaney;
  const toHertz = scale === 'htk' ? htkToHertz : slaneyToHertz;
  const low = toMel(lowHz);
  const step = (toMel(highHz) - low) / (bins + 1);
  const place = triangles === 'mel' ? toMel : (hertz: number) => hertz;
  // linspace() of both libraries ends exactly at its end.
  const edgeMel = (index: number) => (index === bins + 1 ? toMel(highHz) : low + step * index);
  const edgeHertz = (index: number) => toHertz(edgeMel(index));
  const edge = triangles === 'mel' ? edgeMel : edgeHertz;
  // TensorFlow leaves out the bin of 0 Hz.
  const firstBin = triangles === 'mel' ? 1 : 0;
  const binPlaces = Float64Array.from({ length: spectrumBins }, (_, bin) => place((bin * sampleRate) / (2 * (spectrumBins - 1))));
  return Array.from({ length: bins }, (_, band) => {
    const [lower, centre, upper] = [edge(band), edge(band + 1), edge(band + 2)] as const;
    const height = norm === 'slaney' ? 2 / (edgeHertz(band + 2) - edgeHertz(band)) : 1;
    const weights = binPlaces.map((at, bin) =>
      bin < firstBin ? 0 : height * Math.max(0, Math.min((at - lower) / (centre - lower), (upper - at) / (upper - centre))),
    );
    const first = Math.max(
      0,
      weights.findIndex((weight) => weight > 0),
    );
    return { first, weights: weights.slice(first, weights.findLastIndex((weight) => weight > 0) + 1) };
  });
}

// HTK Book, section 5.4: 2595 log10(1 + f/700), with the constant that both libraries take.
function hertzToHtk(hertz: number): number {
  return 2595 * Math.log10(1 + hertz / 700);
}

function htkToHertz(mel: number): number {
  return 700 * (10 ** (mel / 2595) - 1);
}

// Slaney, Auditory Toolbox (1998): 200/3 Hz per mel up to 1 kHz, then 27 mels for each factor of 6.4.
const hertzPerMel = 200 / 3;
const borderHertz = 1000;
const borderMel = borderHertz / hertzPerMel;
const logStep = Math.log(6.4) / 27;

function hertzToSlaney(hertz: number): number {
  return hertz >= borderHertz ? borderMel + Math.log(hertz / borderHertz) / logStep : hertz / hertzPerMel;
}

function slaneyToHertz(mel: number): number {
  return mel >= borderMel ? borderHertz * Math.exp(logStep * (mel - borderMel)) : hertzPerMel * mel;
}

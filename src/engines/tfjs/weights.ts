import { io, util } from '@tensorflow/tfjs-core';
import { NearfarError } from '../../core/index.ts';

/** Weights as they lie in the files of a model. */
export interface StoredWeights {
  readonly weightSpecs: io.WeightsManifestEntry[];
  readonly weightData: ArrayBuffer[];
}

/** Those of the named nodes, in an artifact of their own; bytes are copied. */
export function selectWeights({ weightSpecs, weightData }: StoredWeights, names: ReadonlySet<string>): StoredWeights {
  const all = weightData.length === 1 ? weightData[0]! : io.CompositeArrayBuffer.join(weightData);
  const view = new DataView(all);
  const specs: io.WeightsManifestEntry[] = [];
  const data: ArrayBuffer[] = [];
  let start = 0;
  for (const spec of weightSpecs) {
    const end = endOf(spec, view, start);
    if (names.has(spec.name)) {
      specs.push(spec);
      // CompositeArrayBuffer reads beyond the buffers when one of them is empty.
      if (end > start) data.push(all.slice(start, end));
    }
    start = end;
  }
  return { weightSpecs: specs, weightData: data };
}

/** Strings say their own length: four bytes before each. */
function endOf({ name, shape, dtype, quantization }: io.WeightsManifestEntry, view: DataView, start: number): number {
  const count = util.sizeFromShape(shape);
  let end = start;
  if (dtype === 'string') {
    for (let left = count; left > 0 && end + 4 <= view.byteLength; left--) end += 4 + view.getUint32(end, true);
  } else end += count * bytesOfType[quantization?.dtype ?? dtype];
  if (end <= view.byteLength) return end;
  throw new NearfarError('invalid-argument', `weight ${name} ends outside the weight files`, { details: { name } });
}

const bytesOfType = { float32: 4, float16: 2, uint16: 2, uint8: 1, int32: 4, bool: 1, complex64: 8 } as const;

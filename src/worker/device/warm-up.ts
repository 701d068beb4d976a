import {
  type AnyTensor,
  createData,
  elementCount,
  type LoadedVariant,
  type Manifest,
  NearfarError,
  numericTensor,
  type TensorMap,
} from '../../core/index.ts';

/**
 * Runs each signature once on zeros, so that shaders and buffers are made before the first real call. For versions
 * without golden examples, whose run does the same. Signatures that zeros cannot stand for (strings, open dimensions
 * behind the first) are left cold.
 * @throws {NearfarError} `device-lost` or `out-of-memory`; anything else a model may have against zeros is no failure of the device.
 */
export async function warmUp(loaded: LoadedVariant, manifest: Manifest, signal: AbortSignal): Promise<void> {
  for (const [signature, { inputs }] of Object.entries(manifest.signatures)) {
    const zeros = zerosFor(inputs);
    if (!zeros) continue;
    try {
      await loaded.run({ signature, inputs: zeros }, { signal });
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof NearfarError && (error.code === 'device-lost' || error.code === 'out-of-memory')) throw error;
    }
  }
}

function zerosFor(inputs: Manifest['signatures'][string]['inputs']): TensorMap | undefined {
  const zeros: [string, AnyTensor][] = [];
  for (const [name, { dtype, shape }] of Object.entries(inputs)) {
    const [first, ...rest] = shape;
    if (dtype === 'string' || rest.includes(-1)) return undefined;
    const one = first === undefined ? [] : [first === -1 ? 1 : first, ...rest];
    zeros.push([name, numericTensor(dtype, one, createData(dtype, elementCount(one)))]);
  }
  return Object.fromEntries(zeros);
}

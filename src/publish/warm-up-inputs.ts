import { createTensor, decodeWarmupRecord, NearfarError, readTfRecords, type TensorMap, type WarmupRequest } from '../core/index.ts';
import type { NamedSignature } from './signature.ts';

/** Of each signature, so many requests become golden examples. */
const MAX_PER_SIGNATURE = 3;

/**
 * The requests of warm-up records that golden examples are made of: calls of Predict, Classify and Regress.
 * @throws {NearfarError} `integrity-mismatch` when a checksum is wrong, `invalid-argument` when a record is damaged.
 */
export function readWarmup(bytes: Uint8Array): WarmupRequest[] {
  return readTfRecords(bytes).flatMap((record, index) => {
    try {
      return decodeWarmupRecord(record).filter(({ log }) => log !== 'multi-inference');
    } catch (cause) {
      if (cause instanceof NearfarError && cause.code === 'unsupported') return [];
      throw new NearfarError('invalid-argument', `warm-up record ${index} is no PredictionLog`, { cause, details: { record: index } });
    }
  });
}

/** The first recorded requests that a signature takes, by its (new) names. */
export function warmupInputs(requests: readonly WarmupRequest[], signature: string, { inputs }: NamedSignature): TensorMap[] {
  const own = requests.filter((request) => request.signature === signature);
  const taken = own.map((request) => toInputs(request, inputs)).filter((tensors) => tensors !== undefined);
  return taken.slice(0, MAX_PER_SIGNATURE);
}

/** @returns Undefined for a request that the signature would refuse. */
function toInputs(request: WarmupRequest, wanted: NamedSignature['inputs']): TensorMap | undefined {
  const [only] = wanted;
  if (request.kind === 'examples') {
    const { examples } = request;
    if (!only || wanted.length > 1 || only.dtype !== 'string' || examples.length === 0) return undefined;
    return { [only.name]: createTensor('string', [examples.length], [...examples]) };
  }
  const { tensors } = request;
  if (Object.keys(tensors).length !== wanted.length) return undefined;
  const renamed = wanted.flatMap(({ name, key, dtype }) => {
    const tensor = tensors[key];
    return tensor?.dtype === dtype ? [[name, tensor] as const] : [];
  });
  return renamed.length === wanted.length ? Object.fromEntries(renamed) : undefined;
}

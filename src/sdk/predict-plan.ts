import { transfer } from 'comlink';
import {
  type AnyTensor,
  buffersOf,
  deserializeError,
  type Manifest,
  NearfarError,
  type PredictAnswer,
  type Signature,
  type TensorMap,
} from '../core/index.ts';
import type { CallPlan } from './live-model.ts';
import type { PredictOptions } from './model.ts';
import { encodeInputs, type TensorInput } from './tensor-input.ts';

// A module of its own, loaded while a model opens.

export interface PredictionPlan extends CallPlan<PredictAnswer> {
  /** Called when the first leg has its inputs: who is asked later gets the same, whatever the caller makes of them meanwhile. */
  keepInputs(): void;
}

/**
 * How a signature is run on tensors, on either leg.
 * @param isAlone Whether only one leg can ever be asked: inputs that were given away are then moved on instead of copied.
 * @throws {NearfarError} `invalid-argument`, `dtype-mismatch`, `shape-mismatch`.
 */
export function planPrediction(
  manifest: Manifest,
  given: Readonly<Record<string, TensorInput>>,
  { signature: wanted, outputs, transfer: isGiven = false }: PredictOptions,
  isAlone: boolean,
): PredictionPlan {
  const [signature, info] = chooseSignature(manifest, wanted);
  const encoded = encodeInputs(given, info);
  const call = { signature, ...(outputs && { outputs: checkOutputs(outputs, info) }) };
  const isMoved = isGiven && isAlone;
  let inputs = isGiven ? taken(encoded) : encoded;
  let isAway = false;
  const toSend = () => {
    if (isAway) throw inputsAreGone();
    isAway = isMoved;
    return isMoved ? inputs : copyOf(inputs);
  };
  return {
    preprocessMs: 0,
    async onDevice(api, handle, callId) {
      const sent = toSend();
      const request = transfer({ ...call, inputs: sent, callId }, buffersOf(sent));
      if (!isMoved) return api.predict(handle, request);
      const answer = await api.predictMoved(handle, request);
      if (!('error' in answer)) return answer;
      inputs = answer.inputs;
      isAway = false;
      throw deserializeError(answer.error);
    },
    onServer(api, target, callId, deadlineMs) {
      const sent = toSend();
      return api.predictOnServer(target, transfer({ ...call, inputs: sent, callId, deadlineMs }, buffersOf(sent)));
    },
    keepInputs() {
      if (!isGiven) inputs = copyOf(inputs);
    },
  };
}

function inputsAreGone(): NearfarError {
  return new NearfarError('unavailable', 'the device worker ended, and with it the inputs that the option transfer had moved there');
}

/** The tensors in memory of their own: only that can be sent without the rest of a buffer that they are a part of. */
function copyOf(tensors: TensorMap): TensorMap {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, { ...tensor, data: tensor.data.slice() } as AnyTensor]));
}

/** The tensors, whose memory is no longer the caller's. */
function taken(tensors: TensorMap): TensorMap {
  const buffers = Object.values(tensors).flatMap(({ dtype, data }) => (dtype === 'string' ? [] : [data.buffer]));
  try {
    return structuredClone(tensors, { transfer: [...new Set(buffers)].filter((buffer) => buffer instanceof ArrayBuffer) });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : cause;
    throw new NearfarError('invalid-argument', `transfer: the memory of an input cannot be moved: ${reason}`, { cause });
  }
}

function chooseSignature({ name, signatures }: Manifest, wanted: string | undefined): [string, Signature] {
  const names = Object.keys(signatures);
  const chosen = wanted ?? (names.length === 1 ? names[0] : undefined) ?? 'serving_default';
  const signature = Object.hasOwn(signatures, chosen) ? signatures[chosen] : undefined;
  if (signature) return [chosen, signature];
  throw new NearfarError('invalid-argument', `${name} has no signature "${chosen}"; it has ${names.join(', ')}`, {
    details: { signature: chosen, signatures: names },
  });
}

function checkOutputs(outputs: readonly string[], signature: Signature): readonly string[] {
  const unknown = outputs.find((output) => !Object.hasOwn(signature.outputs, output));
  if (unknown === undefined) return [...outputs];
  throw new NearfarError(
    'invalid-argument',
    `the signature has no output "${unknown}"; it has ${Object.keys(signature.outputs).join(', ')}`,
  );
}

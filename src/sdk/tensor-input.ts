import {
  type AnyTensor,
  createData,
  createTensor,
  type DType,
  isDType,
  isShapeCompatible,
  NearfarError,
  type Signature,
  type TensorMap,
} from '../core/index.ts';

/** A tensor as applications write it: a tensor of core, or strings in place of their bytes. */
export type TensorInput = AnyTensor | { readonly dtype: 'string'; readonly shape: readonly number[]; readonly data: readonly string[] };

/**
 * Checks inputs against a signature before any leg is asked, and turns strings into UTF-8 bytes.
 * @throws {NearfarError} `invalid-argument` (a name too many or too few, the wrong kind of array), `dtype-mismatch`, `shape-mismatch`.
 */
export function encodeInputs(inputs: Readonly<Record<string, TensorInput>>, signature: Signature): TensorMap {
  const want = Object.keys(signature.inputs);
  const got = Object.keys(inputs);
  if (want.length !== got.length || !want.every((name) => Object.hasOwn(inputs, name))) {
    throw new NearfarError('invalid-argument', `the signature has inputs ${want.join(', ')}, got ${got.join(', ') || 'none'}`, {
      details: { want, got },
    });
  }
  return Object.fromEntries(Object.entries(inputs).map(([name, tensor]) => [name, encodeInput(name, tensor, signature)]));
}

function encodeInput(name: string, tensor: TensorInput, { inputs }: Signature): AnyTensor {
  const declared = inputs[name];
  if (!declared || !isDType(tensor?.dtype)) {
    throw new NearfarError('invalid-argument', `input "${name}" is not a tensor of dtype, shape and data`, { details: { name } });
  }
  if (tensor.dtype !== declared.dtype) {
    throw new NearfarError('dtype-mismatch', `input "${name}" expects ${declared.dtype}, got ${tensor.dtype}`, {
      details: { name, want: declared.dtype, got: tensor.dtype },
    });
  }
  if (!isShapeCompatible(declared.shape, tensor.shape)) {
    throw new NearfarError('shape-mismatch', `input "${name}" expects [${declared.shape}], got [${tensor.shape}]`, {
      details: { name, want: [...declared.shape], got: [...tensor.shape] },
    });
  }
  assertData(name, tensor);
  if (tensor.dtype !== 'string') {
    createTensor<DType>(tensor.dtype, tensor.shape, tensor.data);
    return tensor;
  }
  const encoder = new TextEncoder();
  const data = tensor.data.map((item) => (typeof item === 'string' ? encoder.encode(item) : item));
  return createTensor('string', tensor.shape, data);
}

function assertData(name: string, { dtype, data }: TensorInput): void {
  const isRight =
    dtype === 'string'
      ? Array.isArray(data) && data.every((item) => typeof item === 'string' || item instanceof Uint8Array)
      : Object.prototype.toString.call(data) === Object.prototype.toString.call(createData(dtype, 0));
  if (isRight) return;
  throw new NearfarError('invalid-argument', `input "${name}" of dtype ${dtype} holds the wrong kind of array`, {
    details: { name, dtype, got: Object.prototype.toString.call(data) },
  });
}

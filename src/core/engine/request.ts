import { NearfarError } from '../errors.ts';
import type { Manifest, Signature } from '../manifest/index.ts';
import { type AnyTensor, createData, type DType, dtypes, elementCount, itemsPerElement } from '../tensor/index.ts';
import type { RunRequest } from './engine.ts';

/** A request that fits its signature, with the names of the wanted outputs filled in. */
export interface CheckedRequest {
  readonly signature: Signature;
  readonly outputs: readonly string[];
}

/**
 * Checks a request against the signature it names: the inputs are exactly the declared ones, each of the declared dtype,
 * each with as much data as its shape says. Shapes are left to the model, see {@link assertShapeFits}.
 * @throws {NearfarError} `invalid-argument` (unknown signature or output; unknown and missing inputs, all at once),
 * `dtype-mismatch`, `shape-mismatch`.
 */
export function checkRequest(manifest: Manifest, request: RunRequest): CheckedRequest {
  const signature = signatureOf(manifest, request.signature);
  assertInputNames(manifest, request, signature);
  for (const name in signature.inputs) assertInput(name, signature.inputs[name]!.dtype, request.inputs[name]!);
  return { signature, outputs: outputNames(manifest, request, signature) };
}

/**
 * The signature of a name.
 * @throws {NearfarError} `invalid-argument` that lists the names there are.
 */
export function signatureOf(manifest: Manifest, name: string): Signature {
  if (Object.hasOwn(manifest.signatures, name)) return manifest.signatures[name]!;
  const known = Object.keys(manifest.signatures);
  throw new NearfarError('invalid-argument', `${manifest.name} has no signature "${name}"; it has: ${known.join(', ')}`, {
    details: { model: manifest.name, signature: name, known },
  });
}

function assertInputNames(manifest: Manifest, request: RunRequest, signature: Signature): void {
  const sent = Object.keys(request.inputs);
  const unknown = sent.filter((name) => !Object.hasOwn(signature.inputs, name));
  if (unknown.length === 0 && sent.length === Object.keys(signature.inputs).length) return;
  const missing = Object.keys(signature.inputs).filter((name) => !Object.hasOwn(request.inputs, name));
  if (unknown.length === 0 && missing.length === 0) return;
  const parts = [missing.length > 0 && `missing: ${missing.join(', ')}`, unknown.length > 0 && `unknown: ${unknown.join(', ')}`];
  throw new NearfarError(
    'invalid-argument',
    `signature "${request.signature}" of ${manifest.name} takes the inputs ${Object.keys(signature.inputs).join(', ')}; ${parts.filter(Boolean).join('; ')}`,
    { details: { model: manifest.name, signature: request.signature, missing, unknown } },
  );
}

function outputNames(manifest: Manifest, request: RunRequest, signature: Signature): readonly string[] {
  const known = Object.keys(signature.outputs);
  if (request.outputs === undefined || request.outputs.length === 0) return known;
  const unknown = request.outputs.filter((name) => !Object.hasOwn(signature.outputs, name));
  if (unknown.length === 0) return request.outputs.length === 1 ? request.outputs : [...new Set(request.outputs)];
  throw new NearfarError(
    'invalid-argument',
    `signature "${request.signature}" of ${manifest.name} has no output ${unknown.join(', ')}; it has: ${known.join(', ')}`,
    { details: { model: manifest.name, signature: request.signature, unknown, known } },
  );
}

function assertInput(name: string, want: AnyTensor['dtype'], tensor: AnyTensor): void {
  if (tensor.dtype !== want) {
    throw new NearfarError('dtype-mismatch', `input "${name}" expects ${want}, got ${tensor.dtype}`, {
      details: { name, want, got: tensor.dtype },
    });
  }
  assertDataKind(name, tensor);
  const wantItems = elementCount(tensor.shape) * itemsPerElement(want);
  if (tensor.shape.every((size) => Number.isSafeInteger(size) && size >= 0) && tensor.data.length === wantItems) return;
  throw new NearfarError(
    'shape-mismatch',
    `input "${name}" of shape [${tensor.shape}] holds ${wantItems} ${want} items, got data of ${tensor.data.length}`,
    { details: { name, shape: [...tensor.shape], want: wantItems, got: tensor.data.length } },
  );
}

// A Float64Array under dtype float32 would be read as wrong numbers, not refused, by the engines.
function assertDataKind(name: string, tensor: AnyTensor): void {
  const want = dataKinds[tensor.dtype];
  const got = kindOf(tensor.data);
  if (got === want) return;
  throw new NearfarError('dtype-mismatch', `input "${name}" of dtype ${tensor.dtype} holds its data in a ${want}, got ${got}`, {
    details: { name, want, got },
  });
}

const dataKinds = Object.fromEntries(
  dtypes.map((dtype) => [dtype, dtype === 'string' ? 'Array' : kindOf(createData(dtype, 0))]),
) as Readonly<Record<DType, string>>; // `dtypes` are all there are

function kindOf(value: object): string {
  if (Symbol.toStringTag in value) return String(value[Symbol.toStringTag]);
  return Object.prototype.toString.call(value).slice(8, -1);
}

/**
 * Checks an input's shape against what the graph itself declares, -1 for any size. The signature's shape is not enforced:
 * TensorFlow Serving does not either, so a signature of [-1, 1] answers an input of [3] where the graph can compute it.
 * @param declared The graph's shape in the layout of the signature; undefined where the graph takes any rank.
 * @throws {NearfarError} `shape-mismatch`.
 */
export function assertShapeFits(name: string, declared: readonly number[] | undefined, shape: readonly number[]): void {
  if (declared === undefined) return;
  if (declared.length === shape.length && declared.every((size, axis) => size === -1 || size === shape[axis])) return;
  throw new NearfarError('shape-mismatch', `input "${name}" expects [${declared}] (-1: any), got [${shape}]`, {
    details: { name, want: [...declared], got: [...shape] },
  });
}

import { readFile } from 'node:fs/promises';
import {
  type AnyTensor,
  createData,
  createTensor,
  type DType,
  decodeSafetensors,
  decodeWarmupRecord,
  elementCount,
  encodeInferRequest,
  inferenceHeaderLengthName,
  isBatchable,
  itemsPerElement,
  joinRows,
  type Manifest,
  NearfarError,
  type PartOfRows,
  readTfRecords,
  type Signature,
  sharedRows,
  type TensorMap,
} from '../../core/index.ts';
import type { TunedModel } from './model.ts';

export interface RequestOptions {
  readonly signature: string;
  /** Rows of each request; undefined: as many as the examples have. */
  readonly rows: number | undefined;
  /** TFRecords of recorded requests; undefined: there are none. */
  readonly recorded: Uint8Array | undefined;
  /** Reads a file of the version. */
  readonly readFile: (path: string) => Promise<Uint8Array<ArrayBuffer>>;
}

/** What a server is asked, over and over. */
export interface Requests {
  readonly origin: 'recorded requests' | 'golden examples' | 'made-up inputs';
  readonly rows: number;
  readonly inputs: readonly TensorMap[];
}

/**
 * Inputs to measure with: recorded requests where there are some, else the golden examples of the version, else made up by the signature.
 * @throws {NearfarError} `invalid-argument` where rows are asked for of a signature that has no batch dimension.
 */
export async function createRequests(manifest: Manifest, options: RequestOptions): Promise<Requests> {
  const signature = manifest.signatures[options.signature];
  if (!signature) {
    const known = Object.keys(manifest.signatures).join(', ');
    throw new NearfarError('invalid-argument', `${manifest.name} has no signature ${options.signature}; it has ${known}`);
  }
  const { origin, inputs } = await findInputs(manifest, signature, options);
  const { rows } = options;
  if (rows === undefined) return { origin, inputs, rows: sharedRows(inputs[0] ?? {}) ?? 1 };
  if (!isBatchable(manifest, options)) {
    throw new NearfarError(
      'invalid-argument',
      `--rows needs a signature whose inputs have a batch dimension, ${options.signature} has not`,
    );
  }
  return { origin, rows, inputs: inputs.map((_, index) => takeRows(inputs, index, rows)) };
}

async function findInputs(
  manifest: Manifest,
  signature: Signature,
  { signature: name, recorded, readFile: read }: RequestOptions,
): Promise<Pick<Requests, 'origin' | 'inputs'>> {
  const found = recorded ? recordedInputs(recorded, name, signature) : [];
  if (found.length > 0) return { origin: 'recorded requests', inputs: found };
  const examples = manifest.golden.filter((example) => example.signature === name);
  if (examples.length > 0) {
    const inputs = await Promise.all(examples.map(async (example) => decodeSafetensors(await read(example.inputs))));
    return { origin: 'golden examples', inputs };
  }
  const made = Object.entries(signature.inputs).map(([input, { dtype, shape }]) => [input, makeUp(dtype, shape)] as const);
  return { origin: 'made-up inputs', inputs: [Object.fromEntries(made)] };
}

/** Stands in for an open dimension that is not the batch. */
const openSize = 32;

/** Zeros, or words: what is in a tensor hardly changes how long it takes. */
function makeUp(dtype: DType, shape: readonly number[]): AnyTensor {
  const sizes = shape.map((size, axis) => (size >= 0 ? size : axis === 0 ? 1 : openSize));
  if (dtype === 'string')
    return createTensor('string', sizes, new Array<Uint8Array>(elementCount(sizes)).fill(new TextEncoder().encode('word')));
  return { dtype, shape: sizes, data: createData(dtype, elementCount(sizes) * itemsPerElement(dtype)) } as AnyTensor; // the dtype names the data's array
}

function recordedInputs(bytes: Uint8Array, name: string, { inputs }: Signature): TensorMap[] {
  const requests = readTfRecords(bytes).flatMap(decodeWarmupRecord);
  return requests.flatMap((request) => {
    if (request.signature !== name) return [];
    if (request.kind === 'tensors') return [request.tensors];
    const [only, ...others] = Object.keys(inputs);
    const { examples } = request;
    return only === undefined || others.length > 0 ? [] : [{ [only]: createTensor('string', [examples.length], [...examples]) }];
  });
}

/** So many rows, from one of the inputs on, round and round. */
function takeRows(inputs: readonly TensorMap[], from: number, rows: number): TensorMap {
  const all = [...inputs.slice(from), ...inputs.slice(0, from)].flatMap((tensors) =>
    Array.from({ length: sharedRows(tensors) ?? 0 }, (_, row): PartOfRows => ({ tensors, from: row, to: row + 1 })),
  );
  if (all.length === 0) throw new NearfarError('invalid-argument', 'the inputs have no rows');
  const parts = Array.from({ length: rows }, (_, row) => all[row % all.length]!); // there is at least one
  return joinRows(parts, { rows, allocate: (bytes) => new Uint8Array(bytes) });
}

/** Whole HTTP requests of the Open Inference Protocol with binary tensors. */
export function encodeRequests({ inputs }: Requests, { name, version }: TunedModel, signature: string): Uint8Array[] {
  return inputs.map((tensors) => {
    const { body, headerLength } = encodeInferRequest({ signature, inputs: tensors });
    const head = [
      `POST /v2/models/${encodeURIComponent(name)}/versions/${version}/infer HTTP/1.1`,
      'Host: nearfar-tune',
      'Content-Type: application/octet-stream',
      `Content-Length: ${body.byteLength}`,
      `${inferenceHeaderLengthName}: ${headerLength}`,
    ];
    return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), body]);
  });
}

/** @returns Undefined where there is no such file. */
export async function readRecorded(path: string, isAskedFor: boolean): Promise<Uint8Array | undefined> {
  try {
    return new Uint8Array(await readFile(path));
  } catch (cause) {
    if (!isAskedFor) return undefined;
    throw new NearfarError('not-found', `${path} cannot be read: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

import { NearfarError } from '../errors.ts';
import type { Manifest, TensorInfo } from '../manifest/index.ts';
import type { Size } from '../preprocess/index.ts';
import { type AnyTensor, isTensorOf, type Tensor, type TensorMap } from '../tensor/index.ts';

/** What a task is opened with: the version, and its verified files. */
export interface TaskSource {
  readonly manifest: Manifest;
  readonly readFile: (path: string) => Promise<Uint8Array<ArrayBuffer>>;
}

/** A batch as the model reads it, with what its answer is decoded by. */
export interface EncodedBatch {
  readonly tensors: TensorMap;
  /** How many inputs it was made of. */
  readonly count: number;
  /** Sizes of the pictures that the answers are about, where the inputs were pictures. */
  readonly pictures?: readonly Size[] | undefined;
}

/**
 * A task of one version, ready to use: both legs and the server call these two functions around a run of the signature. Both are pure.
 */
export interface OpenedTask<Input, Options, Answer> {
  /** Name of the signature to run, and of the outputs that `decode` reads. */
  readonly signature: string;
  readonly outputs: readonly string[];
  /** @throws {NearfarError} `invalid-argument`, `shape-mismatch` for inputs that the model cannot take. */
  readonly encode: (inputs: readonly Input[]) => EncodedBatch;
  /**
   * @returns One answer per input.
   * @throws {NearfarError} `invalid-argument` for bad options; `dtype-mismatch`, `shape-mismatch` for an output that is not as declared;
   * `internal` when a score is NaN.
   */
  readonly decode: (outputs: TensorMap, batch: EncodedBatch, options: Options) => Answer[];
}

/** @throws {NearfarError} `invalid-argument` when a batch is empty. */
export function assertNotEmpty(inputs: readonly unknown[]): void {
  if (inputs.length === 0) throw new NearfarError('invalid-argument', 'a batch holds at least one input, got none');
}

/** How the signature declares an input. @throws {NearfarError} `invalid-argument` for a name that it does not have. */
export function declaredInput(manifest: Manifest, signature: string, name: string): TensorInfo {
  const inputs = manifest.signatures[signature]?.inputs ?? {};
  const info = Object.hasOwn(inputs, name) ? inputs[name] : undefined;
  if (info) return info;
  throw new NearfarError(
    'invalid-argument',
    `${manifest.name} has no input "${name}" in its signature ${signature}, which its task names`,
    {
      details: { signature, input: name, inputs: Object.keys(inputs) },
    },
  );
}

/** @throws {NearfarError} `internal` when the engine left it out, `dtype-mismatch`, `shape-mismatch` when its rank is none of those given. */
export function floatOutput(outputs: TensorMap, name: string, ranks: readonly number[]): Tensor<'float32'> {
  const tensor = outputOf(outputs, name);
  if (!isTensorOf(tensor, 'float32')) {
    throw new NearfarError('dtype-mismatch', `model output "${name}" is expected as float32, got ${tensor.dtype}`, {
      details: { output: name, want: 'float32', got: tensor.dtype },
    });
  }
  if (!ranks.includes(tensor.shape.length)) throw wrongShape(name, `of rank ${ranks.join(' or ')}`, tensor.shape);
  return tensor;
}

/** Whole numbers, which models give as integers or as floats. @throws {NearfarError} as {@link floatOutput}. */
export function numberOutput(outputs: TensorMap, name: string, ranks: readonly number[]): Tensor<'float32'> {
  const tensor = outputOf(outputs, name);
  if (tensor.dtype !== 'int32' && tensor.dtype !== 'int64') return floatOutput(outputs, name, ranks);
  const { shape, data } = tensor;
  const numbers = Float32Array.from({ length: data.length }, (_, index) => Number(data[index]!));
  return floatOutput({ [name]: { dtype: 'float32', shape, data: numbers } }, name, ranks);
}

export function outputOf(outputs: TensorMap, name: string): AnyTensor {
  const tensor = Object.hasOwn(outputs, name) ? outputs[name] : undefined;
  if (tensor) return tensor;
  throw new NearfarError('internal', `the engine gave no output "${name}"`, { details: { output: name } });
}

export function wrongShape(output: string, want: string, got: readonly number[]): NearfarError {
  return new NearfarError('shape-mismatch', `model output "${output}" is expected ${want}, got [${got}]`, {
    details: { output, want, got: [...got] },
  });
}

/** @throws {NearfarError} `shape-mismatch` when an output is not about as many inputs as went in. */
export function assertCount(output: string, got: readonly number[], { count }: EncodedBatch): void {
  if (got[0] !== count) throw wrongShape(output, `with ${count} rows`, got);
}

import { NearfarError } from '../errors.ts';
import type { Signature } from '../manifest/index.ts';
import { type AnyTensor, createTensor, isTensorOf, type TensorMap } from '../tensor/index.ts';
import { dataTypeName } from './wire-dtypes.ts';

/** What can be asked of a signature that takes serialized tf.Examples. */
export type ExampleMethod = 'classify' | 'regress';

const words = { classify: 'classification', regress: 'regression' } as const;

/**
 * The outputs that answer a method, with TensorFlow Serving's checks and texts (classifier.cc, regressor.cc).
 * @param options.checksMethod Whether the signature must have been exported for the method; signatures of TensorFlow 2 all say predict.
 * @throws {NearfarError} `invalid-argument`, `failed-precondition`.
 */
export function exampleOutputs(
  { method: exported, inputs, outputs }: Signature,
  method: ExampleMethod,
  { checksMethod }: { readonly checksMethod: boolean },
): readonly string[] {
  if (checksMethod && exported !== method) {
    throw invalid(
      `Expected ${words[method]} signature method_name to be tensorflow/serving/${method}. Was: tensorflow/serving/${exported}`,
    );
  }
  const names = Object.keys(outputs);
  if (Object.keys(inputs).length !== 1) throw invalid('Expected one input Tensor.');
  if (method === 'regress' && names.length !== 1) throw invalid('Expected one output Tensor.');
  if (names.length > 2 || names.length === 0) throw invalid(`Expected one or two output Tensors, found ${names.length}`);
  if (!Object.hasOwn(inputs, 'inputs')) {
    throw unfit(`No ${words[method]} inputs found in SignatureDef: its input is ${Object.keys(inputs)}`);
  }
  if (method === 'regress') {
    if (names[0] === 'outputs') return names;
    throw unfit(`No regression outputs found in SignatureDef: its output is ${names}`);
  }
  const known = ['classes', 'scores'].filter((name) => names.includes(name));
  if (known.length > 0) return known;
  throw unfit(
    `Expected classification signature outputs to contain at least one of "classes" or "scores". Signature was: its outputs are ${names.join(', ')}`,
  );
}

/** The one input of a signature that takes examples. The tensor owns its bytes. */
export function exampleInputs(examples: readonly Uint8Array<ArrayBuffer>[]): TensorMap {
  const values = examples.map((example) => example.slice());
  return { inputs: createTensor('string', [values.length], values) };
}

/**
 * @param outputs `classes` [n, classes] of labels, `scores` [n, classes], or one of them.
 * @param count Examples that were asked about.
 * @throws {NearfarError} `invalid-argument` when the graph's outputs have another dtype or shape.
 */
export function classificationsOf(outputs: TensorMap, count: number): { readonly label: string; readonly score: number }[][] {
  const { classes, scores } = outputs;
  if (classes) assertClassTensor(classes, 'classes', 'string', count);
  if (scores) assertClassTensor(scores, 'scores', 'float32', count);
  const classCount = (classes ?? scores)?.shape[1] ?? 0;
  if (scores && scores.shape[1] !== classCount) {
    throw invalid(`Tensors class and score should match in dim_size(1). Got ${classCount} vs. ${scores.shape[1]}`);
  }
  const labels = classes && isTensorOf(classes, 'string') ? classes.data : [];
  const values = scores && isTensorOf(scores, 'float32') ? scores.data : [];
  const decoder = new TextDecoder();
  return Array.from({ length: count }, (_, example) =>
    Array.from({ length: classCount }, (_, index) => {
      const at = example * classCount + index;
      return { label: decoder.decode(labels[at] ?? new Uint8Array()), score: values[at] ?? 0 };
    }),
  );
}

function assertClassTensor({ dtype, shape }: AnyTensor, name: string, want: 'string' | 'float32', count: number): void {
  if (shape.length !== 2) throw invalid(`Expected Tensor shape: [batch_size num_classes] but got [${shape}]`);
  if (dtype !== want) throw invalid(`Expected ${name} Tensor of ${dataTypeName(want)}. Got: ${dataTypeName(dtype)}`);
  if (shape[0] !== count) throw invalid(`Expected ${name} output batch size of ${count}. Got: ${shape[0]}`);
}

/**
 * @param outputs `outputs` [n] or [n, 1].
 * @throws {NearfarError} `invalid-argument` when the graph's output has another dtype or shape.
 */
export function regressionsOf({ outputs }: TensorMap, count: number): number[] {
  if (!outputs) throw invalid("Could not find output tensor 'outputs'");
  const { dtype, shape } = outputs;
  if (shape.length !== 1 && !(shape.length === 2 && shape[1] === 1)) {
    throw invalid(`Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [${shape}]`);
  }
  if (shape[0] !== count) throw invalid(`Input batch size did not match output batch size: ${count} vs. ${shape[0]}`);
  if (!isTensorOf(outputs, 'float32')) throw invalid(`Expected output Tensor of DT_FLOAT.  Got: ${dataTypeName(dtype)}`);
  return [...outputs.data];
}

function invalid(message: string): NearfarError {
  return new NearfarError('invalid-argument', message);
}

function unfit(message: string): NearfarError {
  return new NearfarError('failed-precondition', message);
}

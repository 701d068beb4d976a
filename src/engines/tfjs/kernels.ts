import * as tf from '@tensorflow/tfjs-core';
import { einsum } from './einsum.ts';
import { moveStrings, numberStrings } from './strings.ts';

// Kernels of TensorFlow.js 4.22 that give wrong answers without a word, or none at all, replaced on our own backends; an
// application's are left alone. The conformance suite (test/engines/kernels.test.ts) shows what each is for.

type Kernel = tf.KernelConfig['kernelFunc'];
export type KernelArguments = Parameters<Kernel>[0];

/** A kernel in the place of another, which it may call. */
export type Replace = (original: Kernel) => Kernel;

export type Replacements = Readonly<Record<string, Replace>>;

/** Puts the replacements in the place of the kernels copied to a backend of ours. */
export function installKernels(replacements: Replacements, backendName: string): void {
  for (const [kernelName, replace] of Object.entries(replacements)) {
    const original: tf.KernelConfig | undefined = tf.getKernel(kernelName, backendName);
    const kernelFunc = replace(original?.kernelFunc ?? missing);
    // What a kernel sets up is set up again whenever its backend becomes the current one.
    if (original) tf.unregisterKernel(kernelName, backendName);
    tf.registerKernel({ ...original, kernelName, backendName, kernelFunc });
  }
}

const missing: Kernel = () => {
  throw new Error('there is no kernel to replace');
};

// The engine hands kernels tensors, and takes tensors from them.
export const input = ({ inputs }: KernelArguments, name: string) => inputs[name] as tf.Tensor;

/** Another computation for the inputs of some dtypes, the original one for the rest. */
export function instead(
  name: string,
  dtypes: readonly tf.DataType[],
  compute: (x: tf.Tensor, given: KernelArguments) => tf.Tensor,
): Replace {
  return (original) => (given) => {
    const x = input(given, name);
    return dtypes.includes(x.dtype) ? tf.tidy(() => compute(x, given)) : original(given);
  };
}

export function toTensor(info: tf.TensorInfo): tf.Tensor {
  return info instanceof tf.Tensor ? info : tf.engine().makeTensorFromTensorInfo(info);
}

/** TensorFlow.js types the attributes of all kernels alike; which they are is decided by the kernel's name. */
export function attributesOf<Attributes extends object>({ attrs }: KernelArguments): Attributes {
  return attrs as unknown as Attributes;
}

export function one(result: tf.TensorInfo | tf.TensorInfo[]): tf.TensorInfo {
  return Array.isArray(result) ? result[0]! : result;
}

/** The originals repeat the smaller batch whole, which is right only where it is a single matrix. */
export const batchMatMul: Replace = (original) => (given) => {
  const [a, b] = [input(given, 'a'), input(given, 'b')];
  const [batchA, batchB] = [a.shape.slice(0, -2), b.shape.slice(0, -2)];
  const [countA, countB] = [tf.util.sizeFromShape(batchA), tf.util.sizeFromShape(batchB)];
  if (countA === 1 || countB === 1 || tf.util.arraysEqual(batchA, batchB)) return original(given);
  const batch = tf.broadcast_util.assertAndGetBroadcastShape(batchA, batchB);
  return tf.tidy(() => {
    const spread = (x: tf.Tensor) => tf.broadcastTo(x, [...batch, ...x.shape.slice(-2)]);
    return toTensor(one(original({ ...given, inputs: { ...given.inputs, a: spread(a), b: spread(b) } })));
  });
};

/** "There or not": the originals count in vectors, or do not compile without weights. */
export const binaryBincount: Replace = (original) => (given) => {
  if (given.attrs?.['binaryOutput'] !== true) return original(given);
  return tf.tidy(() => {
    const x = input(given, 'x');
    const weights = tf.ones(x.shape);
    const counts = toTensor(
      one(original({ ...given, inputs: { ...given.inputs, weights }, attrs: { ...given.attrs, binaryOutput: false } })),
    );
    return tf.cast(tf.greater(counts, 0), 'float32');
  });
};

/** Indices say int32 and are kept as float32: only a cast from what they are makes them so. */
const maxPoolWithArgmax: Replace = (original) => (given) => {
  const [values, indices] = original(given) as tf.TensorInfo[];
  return [values!, tf.tidy(() => tf.cast(toTensor({ ...indices!, dtype: 'float32' }), 'int32'))];
};

/** Sizes of a reduction's result; empty axes mean all. */
function reducedShape(x: tf.Tensor, axes: number | readonly number[] | undefined, keepsDims: boolean): number[] {
  const reduced = tf.util.parseAxisParam(axes as number[], x.shape);
  return x.shape.flatMap((size, axis) => (!reduced.includes(axis) ? [size] : keepsDims ? [1] : []));
}

interface ReductionAttributes {
  readonly axis: number | number[];
  readonly keepDims?: boolean;
}

/** The original forgets to keep reduced axes. */
const prodOnGpu: Replace = (original) => (given) => {
  const { axis, keepDims = false } = attributesOf<ReductionAttributes>(given);
  const x = input(given, 'x');
  return tf.tidy(() => tf.reshape(toTensor(one(original(given))), reducedShape(x, axis, keepDims)));
};

/** The original asks for a buffer of no size. */
const sumOnGpu: Replace = (original) => (given) => {
  const { axis, keepDims = false } = attributesOf<ReductionAttributes>(given);
  const x = input(given, 'x');
  return x.size > 0 ? original(given) : tf.zeros(reducedShape(x, axis, keepDims), x.dtype === 'bool' ? 'int32' : x.dtype);
};

/** The original gives a vector of one for a vector. */
const argOnGpu: Replace = (original) => (given) => {
  const x = input(given, 'x');
  if (x.rank > 1) return original(given);
  return tf.tidy(() => tf.reshape(toTensor(one(original(given))), []));
};

/** The original knows four axes; where all shapes are the same one is enough. */
const selectOnGpu: Replace = (original) => (given) => {
  const [condition, t, e] = [input(given, 'condition'), input(given, 't'), input(given, 'e')];
  if (t.rank <= 4 || !tf.util.arraysEqual(condition.shape, t.shape)) return original(given);
  return tf.tidy(() => {
    const flat = (x: tf.Tensor) => tf.reshape(x, [x.size]);
    return tf.reshape(toTensor(one(original({ ...given, inputs: { condition: flat(condition), t: flat(t), e: flat(e) } }))), t.shape);
  });
};

/** The original leaves two references behind: to what it takes and to where. */
const gatherNdOnGpu: Replace = (original) => (given) => {
  const result = original(given);
  for (const name of ['params', 'indices']) (given.backend as tf.KernelBackend).disposeData(input(given, name).dataId);
  return result;
};

/** The originals go through float32. */
export const absOfInts = instead('x', ['int32'], (x) => tf.maximum(x, tf.sub(tf.scalar(0, 'int32'), x)));

/** The originals lose NaN. */
export const sign = instead('x', ['float32'], (x) => {
  const either = tf.sub(tf.cast(tf.greater(x, 0), 'float32'), tf.cast(tf.less(x, 0), 'float32'));
  return tf.where(tf.isNaN(x), x, either);
});

export const ownEinsum: Replace = () => (given) =>
  tf.tidy(() => einsum(String(given.attrs?.['equation']), Object.values(given.inputs) as tf.Tensor[]));

const einsumWithEllipsis: Replace = (original) => (given) => {
  return String(given.attrs?.['equation']).includes('...') ? ownEinsum(original)(given) : original(given);
};

const isString = (tensor: tf.Tensor) => tensor.dtype === 'string';

/** The originals decode strings as UTF-8 and encode them again. */
const movingStrings: Replace = (original) => (given) => {
  const names = Object.keys(given.inputs);
  const tensors = names.map((name) => input(given, name));
  if (!tensors.some(isString)) return original(given);
  return moveStrings(tensors, (moved) => {
    // Operators of a list of tensors are given an array.
    const inputs = Array.isArray(given.inputs) ? moved : Object.fromEntries(moved.map((tensor, index) => [names[index], tensor]));
    const result = original({ ...given, inputs: inputs as tf.NamedTensorInfoMap });
    return Array.isArray(result) ? result.map(toTensor) : toTensor(result);
  });
};

/** The originals take bytes that are no UTF-8 for the same. */
const comparingStrings: Replace = (original) => (given) => {
  const [a, b] = [input(given, 'a'), input(given, 'b')];
  if (!isString(a) || !isString(b)) return original(given);
  return tf.tidy(() => {
    const [first, second] = numberStrings([a, b]);
    return toTensor(one(original({ ...given, inputs: { a: first!, b: second! } })));
  });
};

export const cpuKernels: Replacements = {
  Abs: absOfInts,
  BatchMatMul: batchMatMul,
  Concat: movingStrings,
  DenseBincount: binaryBincount,
  Einsum: einsumWithEllipsis,
  Equal: comparingStrings,
  GatherNd: movingStrings,
  MaxPoolWithArgmax: maxPoolWithArgmax,
  NotEqual: comparingStrings,
  Pack: movingStrings,
  Sign: sign,
  Slice: movingStrings,
  // Rounds to float32.
  Square: instead('x', ['int32'], (x) => tf.mul(x, x)),
  StridedSlice: movingStrings,
  Tile: movingStrings,
  Unpack: movingStrings,
};

export const webGpuKernels: Replacements = {
  Abs: absOfInts,
  AddN: instead('0', ['int32'], (first, { inputs }) =>
    (Object.values(inputs).slice(1) as tf.Tensor[]).reduce<tf.Tensor>((sum, x) => tf.add(sum, x), tf.clone(first)),
  ),
  ArgMax: argOnGpu,
  ArgMin: argOnGpu,
  BatchMatMul: batchMatMul,
  DenseBincount: binaryBincount,
  Einsum: ownEinsum,
  GatherNd: gatherNdOnGpu,
  Mod: instead('a', ['int32'], (a, given) => tf.sub(a, tf.mul(tf.floorDiv(a, input(given, 'b')), input(given, 'b')))),
  Prod: prodOnGpu,
  Relu: instead('x', ['int32'], (x) => tf.maximum(x, tf.scalar(0, 'int32'))),
  Select: selectOnGpu,
  Sign: sign,
  Square: instead('x', ['int32'], (x) => tf.mul(x, x)),
  SquaredDifference: instead('a', ['int32'], (a, given) => {
    const difference = tf.sub(a, input(given, 'b'));
    return tf.mul(difference, difference);
  }),
  Sum: sumOnGpu,
};

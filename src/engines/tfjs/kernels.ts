import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';
import type { TfjsBackendKind } from './backends.ts';
import { einsum } from './einsum.ts';
import { moveStrings, numberStrings } from './strings.ts';

// Kernels of TensorFlow.js 4.22 that give wrong answers without a word, or none at all, replaced on our own backends; an
// application's are left alone. The conformance suite (test/engines/kernels.test.ts) shows what each is for.

type Kernel = tf.KernelConfig['kernelFunc'];
type KernelArguments = Parameters<Kernel>[0];

/** A kernel in the place of another, which it may call. */
type Replace = (original: Kernel) => Kernel;

/** Puts the replacements in the place of the kernels copied to a backend of ours. */
export function installKernels(kind: TfjsBackendKind, backendName: string): void {
  for (const [kernelName, replace] of Object.entries(replacements[kind])) {
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
const input = ({ inputs }: KernelArguments, name: string) => inputs[name] as tf.Tensor;

/** Another computation for the inputs of some dtypes, the original one for the rest. */
function instead(name: string, dtypes: readonly tf.DataType[], compute: (x: tf.Tensor, given: KernelArguments) => tf.Tensor): Replace {
  return (original) => (given) => {
    const x = input(given, name);
    return dtypes.includes(x.dtype) ? tf.tidy(() => compute(x, given)) : original(given);
  };
}

/** Kernels written for numbers of four bytes read and write beyond tensors of one byte: truth values go as int32. */
function boolAsInt(...names: readonly string[]): Replace {
  return (original) => (given) => {
    const isBool = names.some((name) => input(given, name).dtype === 'bool');
    if (!isBool) return original(given);
    return tf.tidy(() => {
      const inputs = { ...given.inputs };
      for (const name of names) inputs[name] = tf.cast(input(given, name), 'int32');
      const result = original({ ...given, inputs });
      const asBool = (info: tf.TensorInfo) => tf.cast(toTensor(info), 'bool');
      return Array.isArray(result) ? result.map(asBool) : asBool(result);
    });
  };
}

function toTensor(info: tf.TensorInfo): tf.Tensor {
  return info instanceof tf.Tensor ? info : tf.engine().makeTensorFromTensorInfo(info);
}

/** The converter's ClipByValue, with bounds as they are. */
function clip(x: tf.Tensor, { attrs }: KernelArguments): tf.Tensor {
  const bound = (name: string) => tf.scalar(Number(attrs?.[name]), x.dtype);
  return tf.minimum(tf.maximum(x, bound('clipValueMin')), bound('clipValueMax'));
}

/** The copy of the bytes that the original makes keeps the low eight bits of a number. */
const castToBool: Replace = (original) => (given) => {
  const { x } = given.inputs;
  if (given.attrs?.['dtype'] !== 'bool' || x!.dtype === 'bool') return original(given);
  const backend = given.backend as BackendWasm;
  const out = backend.makeOutput(x!.shape, 'bool');
  const [from, to] = [backend.typedArrayFromHeap(x!), backend.typedArrayFromHeap(out)];
  for (let index = 0; index < from.length; index++) to[index] = from[index] === 0 ? 0 : 1;
  return out;
};

const oneHotFloat: Replace = (original) => (given) => {
  if (given.attrs?.['dtype'] !== 'float32') return original(given);
  const { onValue, offValue } = attributesOf<tf.OneHotAttrs>(given);
  return tf.tidy(() => {
    const hot = toTensor(one(original({ ...given, attrs: { ...given.attrs, dtype: 'int32', onValue: 1, offValue: 0 } })));
    const scale = tf.cast(hot, 'float32');
    return tf.add(tf.mul(scale, onValue), tf.mul(tf.sub(1, scale), offValue));
  });
};

/** TensorFlow.js types the attributes of all kernels alike; which they are is decided by the kernel's name. */
function attributesOf<Attributes extends object>({ attrs }: KernelArguments): Attributes {
  return attrs as unknown as Attributes;
}

function one(result: tf.TensorInfo | tf.TensorInfo[]): tf.TensorInfo {
  return Array.isArray(result) ? result[0]! : result;
}

/** With a step other than one the original gives its result out as float32, whatever it holds. */
const stridedSlice: Replace = (original) => (given) => {
  const x = input(given, 'x');
  if (x.dtype === 'float32') return original(given);
  const { begin, end, strides, beginMask, endMask, ellipsisMask, newAxisMask, shrinkAxisMask } = attributesOf<tf.StridedSliceAttrs>(given);
  const info = tf.slice_util.sliceInfo(x.shape, begin, end, strides, beginMask, endMask, ellipsisMask, newAxisMask, shrinkAxisMask);
  if (info.isIdentity || info.sliceDim0 || info.isSimpleSlice) return original(given);
  return tf.tidy(() => {
    let y = x;
    for (const [axis, stride] of info.strides.entries()) {
      const indices: number[] = [];
      for (let at = info.begin[axis]!; stride > 0 ? at < info.end[axis]! : at > info.end[axis]!; at += stride) indices.push(at);
      if (indices.length < x.shape[axis]! || stride !== 1) y = tf.gather(y, tf.tensor1d(indices, 'int32'), axis);
    }
    return tf.reshape(y, info.finalShape);
  });
};

/** Whole numbers stay whole: rows and columns are taken as they are (the formula is that of TensorFlow's kernel). */
function resizeNearest(images: tf.Tensor, given: KernelArguments): tf.Tensor {
  const { alignCorners, halfPixelCenters, size } = attributesOf<tf.ResizeNearestNeighborAttrs>(given);
  const indices = (from: number, to: number) => {
    const scale = alignCorners && to > 1 ? (from - 1) / (to - 1) : from / to;
    return Array.from({ length: to }, (_, at) => {
      const place = halfPixelCenters ? scale * (at + 0.5) : scale * at;
      return Math.min(from - 1, alignCorners ? Math.round(place) : Math.floor(place));
    });
  };
  const [, height = 0, width = 0] = images.shape;
  const rows = tf.gather(images, tf.tensor1d(indices(height, size[0]), 'int32'), 1);
  return tf.gather(rows, tf.tensor1d(indices(width, size[1]), 'int32'), 2);
}

/** The originals repeat the smaller batch whole, which is right only where it is a single matrix. */
const batchMatMul: Replace = (original) => (given) => {
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
const binaryBincount: Replace = (original) => (given) => {
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

/** The original divides in float32. */
const floorDivOnWasm: Replace = (original) => (given) => {
  const [a, b] = [input(given, 'a'), input(given, 'b')];
  if (a.dtype !== 'int32') return original(given);
  const backend = given.backend as BackendWasm;
  const shape = tf.broadcast_util.assertAndGetBroadcastShape(a.shape, b.shape);
  return tf.tidy(() => {
    const [over, under] = [a, b].map((x) => (tf.util.arraysEqual(x.shape, shape) ? x : tf.broadcastTo(x, shape)));
    const out = backend.makeOutput(shape, 'int32');
    const [dividends, divisors, to] = [over!, under!, out].map((info) => backend.typedArrayFromHeap(info));
    for (let index = 0; index < to!.length; index++) to![index] = Math.floor(dividends![index]! / divisors![index]!);
    return toTensor(out);
  });
};

/** The original begins with the smallest positive number, so that windows without one give that. Height and width first, then depth. */
const maxPool3d: Replace = () => (given) => {
  const { filterSize, strides, pad } = attributesOf<Pool3dAttributes>(given);
  const [filterDepth, filterHeight, filterWidth] = threeOf(filterSize);
  const [strideDepth, strideHeight, strideWidth] = threeOf(strides);
  return tf.tidy(() => {
    const x = input(given, 'x');
    const [batch = 0, depth = 0, ...plane] = x.shape;
    const planes = tf.reshape<tf.Rank.R4>(x, [batch * depth, ...plane] as [number, number, number, number]);
    const pooled = tf.maxPool(planes, [filterHeight, filterWidth], [strideHeight, strideWidth], pad);
    const [, height, width, channels] = pooled.shape;
    const columns = tf.reshape<tf.Rank.R4>(pooled, [batch, depth, height * width, channels]);
    const result = tf.maxPool(columns, [filterDepth, 1], [strideDepth, 1], pad);
    return tf.reshape(result, [batch, result.shape[1], height, width, channels]);
  });
};

interface Pool3dAttributes {
  readonly filterSize: number | [number, number, number];
  readonly strides: number | [number, number, number];
  readonly pad: 'valid' | 'same' | number;
}

function threeOf(sizes: number | [number, number, number]): [number, number, number] {
  return typeof sizes === 'number' ? [sizes, sizes, sizes] : sizes;
}

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
const absOfInts = instead('x', ['int32'], (x) => tf.maximum(x, tf.sub(tf.scalar(0, 'int32'), x)));

/** The originals lose NaN. */
const sign = instead('x', ['float32'], (x) => {
  const either = tf.sub(tf.cast(tf.greater(x, 0), 'float32'), tf.cast(tf.less(x, 0), 'float32'));
  return tf.where(tf.isNaN(x), x, either);
});

const ownEinsum: Replace = () => (given) =>
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

const replacements: Readonly<Record<TfjsBackendKind, Readonly<Record<string, Replace>>>> = {
  cpu: {
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
  },
  wasm: {
    Abs: absOfInts,
    BatchMatMul: batchMatMul,
    Cast: castToBool,
    ClipByValue: instead('x', ['int32'], clip),
    DenseBincount: binaryBincount,
    Einsum: ownEinsum,
    FloorDiv: floorDivOnWasm,
    MaxPool3D: maxPool3d,
    // Computed in float32.
    Neg: instead('x', ['int32'], (x) => tf.sub(tf.scalar(0, 'int32'), x)),
    OneHot: oneHotFloat,
    ResizeNearestNeighbor: instead('images', ['int32'], resizeNearest),
    Reverse: boolAsInt('x'),
    Select: boolAsInt('t', 'e'),
    // Takes small numbers for zero.
    Sign: sign,
    Square: instead('x', ['int32'], (x) => tf.mul(x, x)),
    StridedSlice: stridedSlice,
  },
  webgpu: {
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
  },
};

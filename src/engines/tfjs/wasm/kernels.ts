import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';
import { NearfarError } from '../../../core/index.ts';
import {
  absOfInts,
  attributesOf,
  batchMatMul,
  binaryBincount,
  input,
  instead,
  type KernelArguments,
  one,
  ownEinsum,
  type Replace,
  type Replacements,
  sign,
  toTensor,
} from '../kernels.ts';

// The replacements for the wasm backend, which are loaded with it.

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

/**
 * The originals read and write wherever an index points, beyond their tensors, too. TensorFlow refuses such an index.
 * @param name The input with the indices, as many side by side as there are sizes.
 */
function withinBounds(name: string, sizesOf: (given: KernelArguments) => readonly number[]): Replace {
  return (original) => (given) => {
    const indices = input(given, name);
    const sizes = sizesOf(given);
    const count = sizes.length;
    const values = (given.backend as BackendWasm).typedArrayFromHeap(indices);
    for (let at = 0; at < values.length; at++) {
      const [value, size] = [values[at]!, sizes[at % count]!];
      if (value >= 0 && value < size) continue;
      const row = Math.floor(at / count);
      const index = [...values.subarray(row * count, (row + 1) * count)];
      const message = `${name}[${row}] = [${index}] does not index into shape [${sizes}]`;
      throw new NearfarError('invalid-argument', message, { details: { index, shape: sizes } });
    }
    return original(given);
  };
}

/** The originals read beyond the tensor. */
const sliceInside: Replace = (original) => (given) => {
  const x = input(given, 'x');
  const { begin, size } = attributesOf<tf.SliceAttrs>(given);
  const [from, sizes] = tf.slice_util.parseSliceParams(x, begin, size);
  assertInside(from!, sizes!, x.shape);
  return original(given);
};

const cropInside: Replace = (original) => (given) => {
  const { blockShape, crops } = attributesOf<tf.BatchToSpaceNDAttrs>(given);
  const spread = blockShape.map((block, axis) => block * input(given, 'x').shape[axis + 1]!);
  const from = crops.map(([before = 0]) => before);
  assertInside(
    from,
    crops.map(([before = 0, after = 0], axis) => spread[axis]! - before - after),
    spread,
  );
  return original(given);
};

const padOutwards: Replace = (original) => (given) => {
  const { paddings } = attributesOf<tf.PadV2Attrs>(given);
  if (paddings.flat().every((padding) => padding >= 0)) return original(given);
  throw new NearfarError('invalid-argument', `paddings are at least 0, got [${paddings}]`, { details: { paddings } });
};

function assertInside(begin: readonly number[], size: readonly number[], shape: readonly number[]): void {
  if (begin.every((at, axis) => at >= 0 && size[axis]! >= 0 && at + size[axis]! <= shape[axis]!)) return;
  const message = `a slice of size [${size}] from [${begin}] is not inside shape [${shape}]`;
  throw new NearfarError('invalid-argument', message, { details: { begin, size, shape } });
}

/** The sizes that indices of this input go along: as many as it has numbers in its last axis. */
function indexedSizes(given: KernelArguments, name: string, shape: readonly number[]): readonly number[] {
  const { rank, shape: own } = input(given, name);
  return shape.slice(0, rank < 2 ? 1 : own.at(-1));
}

/** Numbers below zero are counted before the beginning of the result; those beyond its end are left out, as in TensorFlow. */
const countsFromZero = withinBounds('x', () => [Number.POSITIVE_INFINITY]);

export const wasmKernels: Replacements = {
  Abs: absOfInts,
  BatchMatMul: batchMatMul,
  BatchToSpaceND: cropInside,
  Cast: castToBool,
  ClipByValue: instead('x', ['int32'], clip),
  Bincount: countsFromZero,
  CropAndResize: withinBounds('boxInd', ({ inputs }) => [inputs['image']!.shape[0]!]),
  DenseBincount: (original) => countsFromZero(binaryBincount(original)),
  Einsum: ownEinsum,
  FloorDiv: floorDivOnWasm,
  GatherNd: withinBounds('indices', (given) => indexedSizes(given, 'indices', input(given, 'params').shape)),
  MaxPool3D: maxPool3d,
  MirrorPad: padOutwards,
  // Computed in float32.
  Neg: instead('x', ['int32'], (x) => tf.sub(tf.scalar(0, 'int32'), x)),
  OneHot: oneHotFloat,
  ResizeNearestNeighbor: instead('images', ['int32'], resizeNearest),
  PadV2: padOutwards,
  Reverse: boolAsInt('x'),
  ScatterNd: withinBounds('indices', (given) => indexedSizes(given, 'indices', attributesOf<tf.ScatterNdAttrs>(given).shape)),
  Select: boolAsInt('t', 'e'),
  // Takes small numbers for zero.
  Sign: sign,
  Slice: sliceInside,
  SparseToDense: withinBounds('sparseIndices', (given) =>
    indexedSizes(given, 'sparseIndices', attributesOf<tf.SparseToDenseAttrs>(given).outputShape),
  ),
  Square: instead('x', ['int32'], (x) => tf.mul(x, x)),
  StridedSlice: stridedSlice,
  TensorScatterUpdate: withinBounds('indices', (given) => indexedSizes(given, 'indices', input(given, 'tensor').shape)),
};

import { type AnyTensor, elementCount } from '../../../tensor/index.ts';
import { attribute, type GraphNode } from '../../graph/index.ts';
import { broadcastShapes, planStridedSlice, resolveAxis } from '../dimensions/index.ts';
import {
  broadcastStrides,
  fromBigints,
  fromNumbers,
  isBigDType,
  isNumberDType,
  numbersOf,
  pick,
  scalarOf,
  stridesOf,
  walk,
  withShape,
} from './elements.ts';
import { joinFlat } from './elementwise.ts';
import type { Kernels } from './kernel.ts';

/** What moves elements, and what makes them of shapes: for all dtypes, strings included. */
export const arrayKernels: Kernels = {
  Identity: (_, [x]) => x && [x],
  IdentityN: (_, inputs) => [...inputs],
  StopGradient: (_, [x]) => x && [x],
  PreventGradient: (_, [x]) => x && [x],
  Snapshot: (_, [x]) => x && [x],
  EnsureShape: (_, [x]) => x && [x],
  PlaceholderWithDefault: (_, [x]) => x && [x],
  Reshape: (_, [x, target]) => {
    const shape = x && resolveReshape(x.shape, listOf(target));
    return shape && [withShape(x, shape)];
  },
  ExpandDims: (_, [x, axis]) => {
    const at = x && resolveAxis(scalarOf(axis) ?? Number.NaN, x.shape.length + 1);
    return x && at !== undefined ? [withShape(x, x.shape.toSpliced(at, 0, 1))] : undefined;
  },
  Squeeze: (node, [x]) => {
    if (!x) return undefined;
    const named = squeezeAxes(node).map((axis) => resolveAxis(axis, x.shape.length));
    const shape = x.shape.filter((size, axis) => (named.length === 0 ? size !== 1 : !named.includes(axis)));
    return elementCount(shape) === elementCount(x.shape) ? [withShape(x, shape)] : undefined;
  },
  Transpose: (_, [x, order]) => {
    const axes = listOf(order);
    if (!x || !axes || axes.length !== x.shape.length) return undefined;
    const strides = stridesOf(x.shape);
    const shape = axes.map((axis) => x.shape[axis]!);
    return [
      pick(
        x,
        shape,
        walk(
          shape,
          axes.map((axis) => strides[axis]!),
        ),
      ),
    ];
  },
  ConcatV2: (_, inputs) => concat(inputs.slice(0, -1), scalarOf(inputs.at(-1))),
  Concat: (_, [axis, ...inputs]) => concat(inputs, scalarOf(axis)),
  Pack: (node, inputs) => {
    const axis = resolveAxis(attribute.numberOf(node, 'axis', 0), (inputs[0]?.shape.length ?? 0) + 1);
    if (axis === undefined) return undefined;
    return concat(
      inputs.map((input) => withShape(input, input.shape.toSpliced(axis, 0, 1))),
      axis,
    );
  },
  Unpack: (node, [x]) => {
    const axis = x && resolveAxis(attribute.numberOf(node, 'axis', 0), x.shape.length);
    if (!x || axis === undefined) return undefined;
    const parts = split(x, axis, new Array<number>(x.shape[axis]!).fill(1));
    return parts?.map((part) => withShape(part, part.shape.toSpliced(axis, 1)));
  },
  Split: (node, [axis, x]) => {
    const at = x && resolveAxis(scalarOf(axis) ?? Number.NaN, x.shape.length);
    const count = attribute.numberOf(node, 'num_split');
    if (!x || at === undefined || x.shape[at]! % count !== 0) return undefined;
    return split(x, at, new Array<number>(count).fill(x.shape[at]! / count));
  },
  SplitV: (_, [x, sizes, axis]) => {
    const at = x && resolveAxis(scalarOf(axis) ?? Number.NaN, x.shape.length);
    const list = listOf(sizes);
    if (!x || at === undefined || !list) return undefined;
    const rest = x.shape[at]! - list.reduce((sum, size) => sum + Math.max(size, 0), 0);
    return split(
      x,
      at,
      list.map((size) => (size === -1 ? rest : size)),
    );
  },
  Slice: (_, [x, begin, size]) => {
    const from = listOf(begin);
    const sizes = listOf(size);
    if (!x || !from || !sizes || from.length !== x.shape.length) return undefined;
    const shape = sizes.map((count, axis) => (count === -1 ? x.shape[axis]! - from[axis]! : count));
    if (shape.some((count, axis) => count < 0 || from[axis]! < 0 || from[axis]! + count > x.shape[axis]!)) return undefined;
    const strides = stridesOf(x.shape);
    return [
      pick(
        x,
        shape,
        walk(
          shape,
          strides,
          from.reduce((sum, at, axis) => sum + at * strides[axis]!, 0),
        ),
      ),
    ];
  },
  StridedSlice: (node, [x, begin, end, strides]) => {
    const [from, to, steps] = [listOf(begin), listOf(end), listOf(strides)];
    const plan = x && from && to && steps && planStridedSlice(node, x.shape, from, to, steps);
    if (!plan) return undefined;
    const own = stridesOf(x.shape);
    const start = plan.axes.reduce((sum, axis, i) => sum + axis.begin * own[i]!, 0);
    const sizes = plan.axes.map((axis) => axis.size);
    const places = walk(
      sizes,
      plan.axes.map((axis, i) => axis.stride * own[i]!),
      start,
    );
    return [pick(x, plan.shape, places)];
  },
  GatherV2: (node, [x, indices, axis]) =>
    attribute.numberOf(node, 'batch_dims', 0) === 0 ? gather(x, indices, scalarOf(axis) ?? Number.NaN) : undefined,
  Gather: (_, [x, indices]) => gather(x, indices, 0),
  GatherNd: (_, [x, indices]) => {
    const list = indices && numbersOf(indices);
    if (!x || !indices || !list) return undefined;
    const depth = indices.shape.at(-1) ?? 0;
    const strides = stridesOf(x.shape);
    const row = x.shape.slice(depth);
    const length = elementCount(row);
    const shape = [...indices.shape.slice(0, -1), ...row];
    const places = new Int32Array(elementCount(shape));
    for (let i = 0; i < places.length; i++) {
      const at = Math.floor(i / length) * depth;
      let place = i % length;
      for (let axis = 0; axis < depth; axis++) {
        const index = list[at + axis]!;
        if (index < 0 || index >= x.shape[axis]!) return undefined;
        place += index * strides[axis]!;
      }
      places[i] = place;
    }
    return [pick(x, shape, places)];
  },
  Tile: (_, [x, multiples]) => {
    const times = listOf(multiples);
    if (!x || !times || times.length !== x.shape.length) return undefined;
    const shape = x.shape.map((size, axis) => size * times[axis]!);
    const strides = stridesOf(x.shape);
    // Each axis as two: how often, and where in it.
    const inner = x.shape.flatMap((size, axis) => [times[axis]!, size]);
    return [
      pick(
        x,
        shape,
        walk(
          inner,
          strides.flatMap((stride) => [0, stride]),
        ),
      ),
    ];
  },
  BroadcastTo: (_, [x, target]) => {
    const shape = listOf(target);
    if (!x || !shape || broadcastShapes(x.shape, shape)?.join() !== shape.join()) return undefined;
    return [pick(x, shape, walk(shape, broadcastStrides(x.shape, shape)))];
  },
  Fill: (_, [dims, value]) => {
    const shape = listOf(dims);
    return shape && value && [pick(value, shape, new Int32Array(elementCount(shape)))];
  },
  Range: (_, [start, limit, delta]) => {
    const [from, to, step] = [scalarOf(start), scalarOf(limit), scalarOf(delta)];
    if (!start || from === undefined || to === undefined || !step) return undefined;
    const count = Math.max(0, Math.ceil((to - from) / step));
    if (count > 2 ** 24) return undefined;
    return madeOf(
      start.dtype,
      [count],
      Array.from({ length: count }, (_, i) => from + i * step),
    );
  },
  LinSpace: (_, [start, stop, count]) => {
    const [from, to, length] = [scalarOf(start), scalarOf(stop), scalarOf(count)];
    if (!start || from === undefined || to === undefined || length === undefined || length > 2 ** 24) return undefined;
    const step = length > 1 ? (to - from) / (length - 1) : 0;
    return madeOf(
      start.dtype,
      [length],
      Array.from({ length }, (_, i) => (i === length - 1 && i > 0 ? to : from + i * step)),
    );
  },
  Shape: (node, [x]) => x && ofType(node, 'out_type', [x.shape.length], x.shape),
  ShapeN: (node, inputs) => {
    const shapes = inputs.map(({ shape }) => ofType(node, 'out_type', [shape.length], shape)?.[0]);
    return shapes.every((shape) => shape !== undefined) ? shapes : undefined;
  },
  Size: (node, [x]) => x && ofType(node, 'out_type', [], [elementCount(x.shape)]),
  Rank: (_, [x]) => x && madeOf('int32', [], [x.shape.length]),
  BroadcastArgs: (_, [a, b]) => {
    const shape = broadcastShapes(listOf(a), listOf(b));
    return a && shape && madeOf(a.dtype, [shape.length], shape);
  },
  OneHot: (node, [indices, depth, on, off]) => {
    const size = scalarOf(depth);
    const list = indices && numbersOf(indices);
    if (!indices || !list || size === undefined || size < 0 || !on || !off) return undefined;
    const axis = resolveAxis(attribute.numberOf(node, 'axis', -1), indices.shape.length + 1);
    if (axis === undefined) return undefined;
    const shape = indices.shape.toSpliced(axis, 0, size);
    const inner = elementCount(indices.shape.slice(axis));
    const places = new Int32Array(elementCount(shape));
    for (let i = 0; i < places.length; i++) {
      const outer = Math.floor(i / (inner * size));
      const at = Math.floor(i / inner) % size;
      places[i] = list[outer * inner + (i % inner)] === at ? 0 : 1;
    }
    return [pick(joinFlat([on, off]), shape, places)];
  },
  Pad: (_, [x, paddings]) => pad(x, paddings, undefined),
  PadV2: (_, [x, paddings, value]) => value && pad(x, paddings, value),
  MirrorPad: (node, [x, paddings]) => {
    const list = listOf(paddings);
    if (!x || !list) return undefined;
    const isSymmetric = attribute.stringOf(node, 'mode', 'REFLECT').toUpperCase() === 'SYMMETRIC';
    const shape = x.shape.map((size, axis) => size + list[2 * axis]! + list[2 * axis + 1]!);
    const mirror = (at: number, size: number) => {
      if (at < 0) return isSymmetric ? -at - 1 : -at;
      return at < size ? at : 2 * size - at - (isSymmetric ? 1 : 2);
    };
    return [pickByAxis(x, shape, (at, axis) => mirror(at - list[2 * axis]!, x.shape[axis]!))];
  },
  ReverseV2: (_, [x, axes]) => {
    const list = x && listOf(axes)?.map((axis) => resolveAxis(axis, x.shape.length));
    return list && [pickByAxis(x, x.shape, (at, axis) => (list.includes(axis) ? x.shape[axis]! - 1 - at : at))];
  },
  ResizeNearestNeighbor: (node, [x, size]) => {
    const target = listOf(size);
    if (x?.shape.length !== 4 || target?.length !== 2) return undefined;
    const { alignCorners, halfPixel } = resizeOptions(node);
    const shape = [x.shape[0]!, target[0]!, target[1]!, x.shape[3]!];
    return [
      pickByAxis(x, shape, (at, axis) => {
        const [from, to] = [x.shape[axis]!, shape[axis]!];
        if (axis === 0 || axis === 3) return at;
        const scale = alignCorners && to > 1 ? (from - 1) / (to - 1) : from / to;
        const place = alignCorners ? Math.round(at * scale) : Math.floor((at + (halfPixel ? 0.5 : 0)) * scale);
        return Math.min(Math.max(place, 0), from - 1);
      }),
    ];
  },
  SpaceToDepth: (node, [x]) => {
    const block = attribute.numberOf(node, 'block_size');
    if (x?.shape.length !== 4 || attribute.stringOf(node, 'data_format', 'NHWC') !== 'NHWC') return undefined;
    const [batch, height, width, depth] = x.shape as [number, number, number, number];
    const inner = [batch, height / block, block, width / block, block, depth];
    return [regroup(x, inner, [0, 1, 3, 2, 4, 5], [batch, height / block, width / block, block * block * depth])];
  },
  DepthToSpace: (node, [x]) => {
    const block = attribute.numberOf(node, 'block_size');
    if (x?.shape.length !== 4 || attribute.stringOf(node, 'data_format', 'NHWC') !== 'NHWC') return undefined;
    const [batch, height, width, depth] = x.shape as [number, number, number, number];
    const inner = [batch, height, width, block, block, depth / block ** 2];
    return [regroup(x, inner, [0, 1, 3, 2, 4, 5], [batch, height * block, width * block, depth / block ** 2])];
  },
};

/** The axes a `Squeeze` names; none when it takes all of size 1. */
export function squeezeAxes(node: GraphNode): readonly number[] {
  return attribute.numbersOf(node, node.attributes['axis'] ? 'axis' : 'squeeze_dims', []);
}

export function resizeOptions(node: GraphNode): { alignCorners: boolean; halfPixel: boolean } {
  return {
    alignCorners: attribute.boolOf(node, 'align_corners', false),
    halfPixel: attribute.boolOf(node, 'half_pixel_centers', false),
  };
}

/** The elements of a small tensor of whole numbers. */
export function listOf(tensor: AnyTensor | undefined): readonly number[] | undefined {
  const values = tensor && numbersOf(tensor);
  return values && Array.from(values);
}

function resolveReshape(from: readonly number[], target: readonly number[] | undefined): readonly number[] | undefined {
  if (!target) return undefined;
  const rest = elementCount(from) / elementCount(target.filter((size) => size !== -1));
  const shape = target.map((size) => (size === -1 ? rest : size));
  return elementCount(shape) === elementCount(from) && shape.every(Number.isInteger) ? shape : undefined;
}

function madeOf(dtype: AnyTensor['dtype'], shape: readonly number[], values: readonly number[]): AnyTensor[] | undefined {
  if (isNumberDType(dtype)) return [fromNumbers(dtype, shape, values)];
  return isBigDType(dtype) ? [fromBigints(dtype, shape, values.map(BigInt))] : undefined;
}

function ofType(node: GraphNode, name: string, shape: readonly number[], values: readonly number[]): AnyTensor[] | undefined {
  return madeOf(attribute.dtypeOf(node, name, 'int32'), shape, values);
}

function concat(inputs: readonly AnyTensor[], axis: number | undefined): AnyTensor[] | undefined {
  const [first] = inputs;
  const at = first && resolveAxis(axis ?? Number.NaN, first.shape.length);
  if (!first || at === undefined || inputs.some(({ dtype, shape }) => dtype !== first.dtype || shape.length !== first.shape.length)) {
    return undefined;
  }
  const size = inputs.reduce((sum, { shape }) => sum + shape[at]!, 0);
  const shape = first.shape.with(at, size);
  const outer = elementCount(shape.slice(0, at));
  const inner = elementCount(shape.slice(at + 1));
  const places = new Int32Array(elementCount(shape));
  let before = 0; // elements of the inputs before
  let offset = 0; // places of the axis before
  for (const input of inputs) {
    const row = input.shape[at]! * inner;
    for (let i = 0; i < outer; i++) {
      for (let j = 0; j < row; j++) places[i * size * inner + offset + j] = before + i * row + j;
    }
    before += outer * row;
    offset += row;
  }
  return [pick(joinFlat(inputs), shape, places)];
}

function split(x: AnyTensor, axis: number, sizes: readonly number[]): AnyTensor[] | undefined {
  if (sizes.reduce((sum, size) => sum + size, 0) !== x.shape[axis] || sizes.some((size) => size < 0)) return undefined;
  const strides = stridesOf(x.shape);
  let begin = 0;
  return sizes.map((size) => {
    const shape = x.shape.with(axis, size);
    const part = pick(x, shape, walk(shape, strides, begin * strides[axis]!));
    begin += size;
    return part;
  });
}

function gather(x: AnyTensor | undefined, indices: AnyTensor | undefined, axis: number): AnyTensor[] | undefined {
  const at = x && resolveAxis(axis, x.shape.length);
  const list = indices && numbersOf(indices);
  if (!x || !indices || !list || at === undefined) return undefined;
  const size = x.shape[at]!;
  const inner = elementCount(x.shape.slice(at + 1));
  const shape = [...x.shape.slice(0, at), ...indices.shape, ...x.shape.slice(at + 1)];
  const places = new Int32Array(elementCount(shape));
  for (let i = 0; i < places.length; i++) {
    const row = Math.floor(i / inner);
    const index = list[row % list.length]!;
    if (index < 0 || index >= size) return undefined;
    places[i] = (Math.floor(row / list.length) * size + index) * inner + (i % inner);
  }
  return [pick(x, shape, places)];
}

/** Elements whose place along each axis is given by a function of the axis alone; below 0 means none (zero). */
function pickByAxis(x: AnyTensor, shape: readonly number[], from: (at: number, axis: number) => number): AnyTensor {
  const strides = stridesOf(x.shape);
  const tables = shape.map((size, axis) => Array.from({ length: size }, (_, at) => from(at, axis)));
  const own = stridesOf(shape);
  const places = new Int32Array(elementCount(shape));
  for (let i = 0; i < places.length; i++) {
    let place = 0;
    for (let axis = 0; axis < shape.length; axis++) {
      const at = tables[axis]![Math.floor(i / own[axis]!) % shape[axis]!]!;
      if (at < 0) {
        place = -1;
        break;
      }
      place += at * strides[axis]!;
    }
    places[i] = place;
  }
  return pick(x, shape, places);
}

function pad(x: AnyTensor | undefined, paddings: AnyTensor | undefined, value: AnyTensor | undefined): AnyTensor[] | undefined {
  const list = listOf(paddings);
  if (!x || !list || list.length !== 2 * x.shape.length) return undefined;
  const shape = x.shape.map((size, axis) => size + list[2 * axis]! + list[2 * axis + 1]!);
  const inside = (at: number, axis: number) => (at < x.shape[axis]! ? at : -1);
  const padded = (tensor: AnyTensor) => pickByAxis(tensor, shape, (at, axis) => inside(at - list[2 * axis]!, axis));
  if (!value) return [padded(x)];
  const places = numbersOf(
    padded({ dtype: 'int32', shape: x.shape, data: Int32Array.from({ length: elementCount(x.shape) }, (_, i) => i + 1) }),
  );
  return places && [pick(joinFlat([value, x]), shape, places)];
}

function regroup(x: AnyTensor, inner: readonly number[], order: readonly number[], shape: readonly number[]): AnyTensor {
  const strides = stridesOf(inner);
  const places = walk(
    order.map((axis) => inner[axis]!),
    order.map((axis) => strides[axis]!),
  );
  return pick(x, shape, places);
}

import { type AnyTensor, createData, elementCount } from '../../../tensor/index.ts';
import { attribute, type GraphNode } from '../../graph/index.ts';
import { broadcastShapes, isStatic, parseEquation, samePadding, windowOutputSize } from '../dimensions/index.ts';
import { listOf } from './arrays.ts';
import { broadcastStrides, fromNumbers, isNumberDType, numbersOf, stridesOf, walk } from './elements.ts';
import { activations, elementwiseKernels } from './elementwise.ts';
import type { Kernels } from './kernel.ts';

/** Layers, in float64 and rounded at the end: slow and exact, to judge other implementations and fold small ones. */
export const layerKernels: Kernels = {
  MatMul: (node, [a, b]) => matMul(a, b, attribute.boolOf(node, 'transpose_a', false), attribute.boolOf(node, 'transpose_b', false)),
  BatchMatMul: (node, [a, b]) => matMul(a, b, attribute.boolOf(node, 'adj_x', false), attribute.boolOf(node, 'adj_y', false)),
  BatchMatMulV2: (node, [a, b]) => matMul(a, b, attribute.boolOf(node, 'adj_x', false), attribute.boolOf(node, 'adj_y', false)),
  _FusedMatMul: (node, inputs) => fused(node, inputs, layerKernels['MatMul']),
  Einsum: einsum,
  Conv2D: (node, [x, filter]) => {
    const plan = x && filter && windowPlan(node, x, [filter.shape[0]!, filter.shape[1]!]);
    const [values, weights] = [x && numbersOf(x), filter && numbersOf(filter)];
    if (!plan || !values || !weights || x.shape[3]! % filter.shape[2]! !== 0) return undefined;
    const [, , inside, outside] = filter.shape as [number, number, number, number];
    const groups = x.shape[3]! / inside; // the kernel of TensorFlow convolves in groups when the filter has fewer channels
    const out = new Float64Array(plan.rows * outside);
    slide(plan, x.shape, (row, place, tap) => {
      for (let o = 0; o < outside; o++) {
        const from = place + Math.floor(o / (outside / groups)) * inside;
        let sum = 0;
        for (let i = 0; i < inside; i++) sum += values[from + i]! * weights[(tap * inside + i) * outside + o]!;
        out[row * outside + o]! += sum;
      }
    });
    return made(x, [...plan.shape, outside], out);
  },
  _FusedConv2D: (node, inputs) => fused(node, inputs, layerKernels['Conv2D']),
  DepthwiseConv2dNative: (node, [x, filter]) => {
    const plan = x && filter && windowPlan(node, x, [filter.shape[0]!, filter.shape[1]!]);
    const [values, weights] = [x && numbersOf(x), filter && numbersOf(filter)];
    if (!plan || !values || !weights) return undefined;
    const [, , inside, multiplier] = filter.shape as [number, number, number, number];
    const outside = inside * multiplier;
    const out = new Float64Array(plan.rows * outside);
    slide(plan, x.shape, (row, place, tap) => {
      for (let o = 0; o < outside; o++)
        out[row * outside + o]! += values[place + Math.floor(o / multiplier)]! * weights[tap * outside + o]!;
    });
    return made(x, [...plan.shape, outside], out);
  },
  FusedDepthwiseConv2dNative: (node, inputs) => fused(node, inputs, layerKernels['DepthwiseConv2dNative']),
  Conv2DBackpropInput: (node, [sizes, filter, gradient]) => {
    const shape = listOf(sizes);
    const [weights, values] = [filter && numbersOf(filter), gradient && numbersOf(gradient)];
    if (!shape || !filter || !gradient || !weights || !values) return undefined;
    const [, , outside, inside] = filter.shape as [number, number, number, number];
    const plan = windowPlan(node, { ...gradient, shape }, [filter.shape[0]!, filter.shape[1]!]);
    if (!plan || elementCount(plan.shape) * inside !== values.length) return undefined;
    const out = new Float64Array(elementCount(shape));
    slide(plan, shape, (row, place, tap) => {
      for (let o = 0; o < outside; o++) {
        let sum = 0;
        for (let i = 0; i < inside; i++) sum += values[row * inside + i]! * weights[(tap * outside + o) * inside + i]!;
        out[place + o]! += sum;
      }
    });
    return made(gradient, shape, out);
  },
  MaxPool: (node, [x]) => pool(node, x, Number.NEGATIVE_INFINITY, Math.max, (value) => value),
  AvgPool: (node, [x]) =>
    pool(
      node,
      x,
      0,
      (a, b) => a + b,
      (sum, count) => sum / count,
    ),
  FusedBatchNorm: batchNorm,
  FusedBatchNormV2: batchNorm,
  FusedBatchNormV3: batchNorm,
};

function made(like: AnyTensor, shape: readonly number[], values: ArrayLike<number>): AnyTensor[] | undefined {
  return isNumberDType(like.dtype) ? [fromNumbers(like.dtype, shape, values)] : undefined;
}

/** A layer, then the bias and the activation that `fused_ops` names. */
function fused(node: GraphNode, inputs: readonly AnyTensor[], layer: Kernels[string] | undefined): AnyTensor[] | undefined {
  let result = layer?.(node, inputs)?.[0];
  const args = inputs.slice(2);
  for (const op of attribute.stringsOf(node, 'fused_ops', [])) {
    const step = { ...node, op };
    const kernel = elementwiseKernels[op];
    const takesArgument = op === 'BiasAdd' || op === 'Prelu';
    if (!kernel || !result || (!takesArgument && !Object.hasOwn(activations, op))) return undefined;
    const argument = takesArgument ? args.shift() : undefined;
    result = kernel(step, argument ? [result, argument] : [result])?.[0];
  }
  return result && [result];
}

function matMul(a: AnyTensor | undefined, b: AnyTensor | undefined, transposeA: boolean, transposeB: boolean): AnyTensor[] | undefined {
  const [x, y] = [a && numbersOf(a), b && numbersOf(b)];
  if (!a || !b || !x || !y || a.shape.length < 2 || b.shape.length < 2) return undefined;
  const matrixA = a.shape.slice(-2) as [number, number];
  const matrixB = b.shape.slice(-2) as [number, number];
  const [rows, inner] = transposeA ? [matrixA[1], matrixA[0]] : matrixA;
  const [innerB, columns] = transposeB ? [matrixB[1], matrixB[0]] : matrixB;
  const batch = broadcastShapes(a.shape.slice(0, -2), b.shape.slice(0, -2));
  if (inner !== innerB || !isStatic(batch)) return undefined;
  const [stepRow, stepA] = transposeA ? [1, rows] : [inner, 1];
  const [stepB, stepColumn] = transposeB ? [1, inner] : [columns, 1];
  const placesA = walk(batch, broadcastStrides(a.shape.slice(0, -2), batch));
  const placesB = walk(batch, broadcastStrides(b.shape.slice(0, -2), batch));
  const out = new Float64Array(placesA.length * rows * columns);
  for (let n = 0, at = 0; n < placesA.length; n++) {
    const [startA, startB] = [placesA[n]! * rows * inner, placesB[n]! * inner * columns];
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++, at++) {
        let sum = 0;
        for (let i = 0; i < inner; i++) sum += x[startA + row * stepRow + i * stepA]! * y[startB + i * stepB + column * stepColumn]!;
        out[at] = sum;
      }
    }
  }
  return made(a, [...batch, rows, columns], out);
}

function einsum(node: GraphNode, inputs: readonly AnyTensor[]): AnyTensor[] | undefined {
  const equation = parseEquation(
    attribute.stringOf(node, 'equation'),
    inputs.map(({ shape }) => shape.length),
  );
  const values = inputs.map(numbersOf);
  const [first] = inputs;
  if (!equation || !first || values.some((list) => !list)) return undefined;
  const sizes = new Map<string, number>();
  equation.inputs.forEach((labels, i) => {
    for (const [axis, label] of labels.entries()) sizes.set(label, Math.max(sizes.get(label) ?? 1, inputs[i]!.shape[axis]!));
  });
  const summed = [...sizes.keys()].filter((label) => !equation.output.includes(label));
  const labels = [...equation.output, ...summed];
  const shape = labels.map((label) => sizes.get(label)!);
  const places = inputs.map((input, i) => {
    const own = stridesOf(input.shape);
    const strides = labels.map((label) =>
      equation.inputs[i]!.reduce((sum, other, axis) => sum + (other === label && input.shape[axis] !== 1 ? own[axis]! : 0), 0),
    );
    return walk(shape, strides);
  });
  const outShape = shape.slice(0, equation.output.length);
  const out = new Float64Array(elementCount(outShape));
  const inner = elementCount(shape.slice(equation.output.length));
  for (let i = 0; i < out.length; i++) {
    for (let j = 0; j < inner; j++) out[i]! += values.reduce((product, list, n) => product * list![places[n]![i * inner + j]!]!, 1);
  }
  return made(first, outShape, out);
}

interface WindowPlan {
  /** Of the output, without its channels. */
  readonly shape: readonly [number, number, number];
  readonly rows: number;
  readonly size: readonly [number, number];
  readonly stride: readonly [number, number];
  readonly dilation: readonly [number, number];
  readonly before: readonly [number, number];
}

function windowPlan(node: GraphNode, x: AnyTensor, size: readonly [number, number]): WindowPlan | undefined {
  if (x.shape.length !== 4 || attribute.stringOf(node, 'data_format', 'NHWC') !== 'NHWC') return undefined;
  const strides = attribute.numbersOf(node, 'strides');
  const dilations = attribute.numbersOf(node, 'dilations', [1, 1, 1, 1]);
  const padding = attribute.stringOf(node, 'padding');
  const explicit = attribute.numbersOf(node, 'explicit_paddings', []);
  const axes = ([1, 2] as const).map((axis, i) => {
    const window = { size: size[i]!, stride: strides[axis]!, dilation: dilations[axis]! };
    const given = [explicit[2 * axis] ?? 0, explicit[2 * axis + 1] ?? 0] as const;
    const input = x.shape[axis]!;
    const [before] = padding === 'SAME' ? samePadding(input, { ...window, padding }) : given;
    return { ...window, before, out: windowOutputSize(input, { ...window, padding: padding === 'EXPLICIT' ? given : padding }) };
  });
  const [y, z] = axes as [(typeof axes)[0], (typeof axes)[0]];
  return {
    shape: [x.shape[0]!, y.out, z.out],
    rows: x.shape[0]! * y.out * z.out,
    size,
    stride: [y.stride, z.stride],
    dilation: [y.dilation, z.dilation],
    before: [y.before, z.before],
  };
}

/** Visits, for each row of the output, the places of the input under each tap of the window, where there are any. */
function slide(plan: WindowPlan, input: readonly number[], visit: (row: number, place: number, tap: number) => void): void {
  const [batch, height, width] = plan.shape;
  const [, inputHeight, inputWidth, channels] = input as [number, number, number, number];
  let row = 0;
  for (let n = 0; n < batch; n++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++, row++) {
        for (let tap = 0; tap < plan.size[0] * plan.size[1]; tap++) {
          const fromY = y * plan.stride[0] - plan.before[0] + Math.floor(tap / plan.size[1]) * plan.dilation[0];
          const fromX = x * plan.stride[1] - plan.before[1] + (tap % plan.size[1]) * plan.dilation[1];
          if (fromY < 0 || fromX < 0 || fromY >= inputHeight || fromX >= inputWidth) continue;
          visit(row, ((n * inputHeight + fromY) * inputWidth + fromX) * channels, tap);
        }
      }
    }
  }
}

function pool(
  node: GraphNode,
  x: AnyTensor | undefined,
  start: number,
  join: (a: number, b: number) => number,
  finish: (value: number, count: number) => number,
): AnyTensor[] | undefined {
  const values = x && numbersOf(x);
  const [, height, width] = attribute.numbersOf(node, 'ksize');
  const plan = x && windowPlan(node, x, [height!, width!]);
  if (!x || !values || !plan) return undefined;
  const channels = x.shape[3]!;
  const out = new Float64Array(plan.rows * channels).fill(start);
  const counts = new Int32Array(plan.rows);
  slide(plan, x.shape, (row, place) => {
    counts[row]!++;
    for (let c = 0; c < channels; c++) out[row * channels + c] = join(out[row * channels + c]!, values[place + c]!);
  });
  return made(
    x,
    [...plan.shape, channels],
    out.map((value, i) => finish(value, counts[Math.floor(i / channels)]!)),
  );
}

function batchNorm(node: GraphNode, inputs: readonly AnyTensor[]): AnyTensor[] | undefined {
  const [x, scale, offset, mean, variance] = inputs;
  if (attribute.boolOf(node, 'is_training', true) || attribute.stringOf(node, 'data_format', 'NHWC') !== 'NHWC') return undefined;
  const [values, ...parameters] = [x, scale, offset, mean, variance].map((tensor) => tensor && numbersOf(tensor));
  const [a, b, m, v] = parameters;
  if (!x || !mean || !variance || !values || !a || !b || !m || !v) return undefined;
  const epsilon = attribute.numberOf(node, 'epsilon', 1e-4);
  const out = createData('float64', values.length);
  for (let i = 0; i < out.length; i++) {
    const c = i % a.length;
    out[i] = ((values[i]! - m[c]!) * a[c]!) / Math.sqrt(v[c]! + epsilon) + b[c]!;
  }
  const y = made(x, x.shape, out);
  return y && [...y, mean, variance, mean, variance];
}

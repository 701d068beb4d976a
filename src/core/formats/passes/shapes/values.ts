import { type AnyTensor, type DType, elementCount } from '../../../tensor/index.ts';
import type { GraphNode } from '../../graph/index.ts';
import { isStatic } from '../dimensions/index.ts';
import { evaluateNode, fromBigints, isBigDType, isEvaluable, isFloatDType, isNumberDType, numbersOf, tensorOf } from '../evaluate/index.ts';
import type { Known } from './known.ts';

/** More elements than that are no shape. */
export const MAX_VALUES = 1024;

type IsData = (index: number, count: number) => boolean;

const all: IsData = () => true;
const first: IsData = (index) => index === 0;
const second: IsData = (index) => index === 1;

/** Operators that each element goes through by itself, with the inputs that may hold elements not known; the others must be known. */
const elementwiseData: ReadonlyMap<string, IsData> = new Map<string, IsData>([
  ...'Pack Add AddV2 Sub Mul Maximum Minimum FloorDiv AddN'.split(' ').map((op) => [op, all] as const),
  ...'Reshape ExpandDims Squeeze Transpose Slice StridedSlice Gather GatherV2 GatherNd Tile BroadcastTo Unpack SplitV ReverseV2 Pad'
    .split(' ')
    .map((op) => [op, first] as const),
  ...'Sum Prod Max Min Neg Abs'.split(' ').map((op) => [op, first] as const),
  ...'Split Fill'.split(' ').map((op) => [op, second] as const),
  ['ConcatV2', (index, count) => index < count - 1],
  ['Concat', (index) => index > 0],
]);

/** Outputs with the elements that can be told of them: shape arithmetic is done while the shapes are inferred. */
export function withValues(node: GraphNode, inputs: readonly Known[], outputs: readonly Known[]): readonly Known[] {
  if (!isEvaluable(node.op) || !outputs.some(canHoldValues) || outputs.some((output) => output.values)) return outputs;
  if (node.op === 'Cast') return castValues(inputs[0], outputs);
  const computed = exactly(node, inputs) ?? partially(node, inputs);
  if (!computed) return outputs;
  return outputs.map((output, i) => {
    const values = computed[i];
    const fits = values && canHoldValues(output) && isStatic(output.shape) && values.length === elementCount(output.shape);
    return fits ? { ...output, values } : output;
  });
}

function canHoldValues({ dtype, shape }: Known): boolean {
  return isWhole(dtype) && isStatic(shape) && elementCount(shape) <= MAX_VALUES;
}

export function isWhole(dtype: Known['dtype']): dtype is DType {
  return dtype !== 'resource' && dtype !== 'variant' && (isBigDType(dtype) || (isNumberDType(dtype) && !isFloatDType(dtype)));
}

function castValues(input: Known | undefined, outputs: readonly Known[]): readonly Known[] {
  const [output] = outputs;
  // Only to a type that holds them all; to bool they would change.
  const isWide = output?.dtype === 'int32' || output?.dtype === 'int64';
  const fits = input?.values?.every((value) => value === undefined || (Number.isSafeInteger(value) && Math.abs(value) < 2 ** 31));
  return output && isWide && fits && input?.values ? [{ ...output, values: input.values }] : outputs;
}

type Values = readonly (number | undefined)[];

function exactly(node: GraphNode, inputs: readonly Known[]): readonly Values[] | undefined {
  const tensors = inputs.map(toTensor);
  if (tensors.some((tensor) => !tensor)) return undefined;
  return evaluateNode(node, tensors as readonly AnyTensor[])?.map((tensor) => Array.from(numbersOf(tensor) ?? []));
}

/** Elements that are not known go through as NaN, in float64, where every size and place is exact. */
function partially(node: GraphNode, inputs: readonly Known[]): readonly Values[] | undefined {
  const isData = elementwiseData.get(node.op);
  if (!isData) return undefined;
  const tensors = inputs.map((input, i) => {
    if (!isData(i, inputs.length)) return toTensor(input);
    if (!input.values || !isStatic(input.shape) || !isWhole(input.dtype)) return undefined;
    return tensorOf(
      'float64',
      input.shape,
      Float64Array.from(input.values, (value) => value ?? Number.NaN),
    );
  });
  if (tensors.some((tensor) => !tensor)) return undefined;
  const results = evaluateNode(node, tensors as readonly AnyTensor[]);
  const limit = inputs.some(({ dtype }) => dtype === 'int32') ? 2 ** 31 : 2 ** 53; // beyond, the true result has wrapped
  return results?.map((tensor) => Array.from(numbersOf(tensor) ?? [], (value) => (Math.abs(value) < limit ? value : undefined)));
}

function toTensor({ dtype, shape, values }: Known): AnyTensor | undefined {
  if (!values || !isStatic(shape) || !isWhole(dtype) || !values.every(Number.isSafeInteger)) return undefined;
  const numbers = values as readonly number[];
  if (dtype === 'int64' || dtype === 'uint64') return fromBigints(dtype, shape, numbers.map(BigInt));
  return dtype === 'int32'
    ? tensorOf('int32', shape, Int32Array.from(numbers))
    : dtype === 'bool'
      ? tensorOf('bool', shape, Uint8Array.from(numbers))
      : undefined;
}

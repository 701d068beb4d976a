import { attribute } from '../../graph/index.ts';
import { type Converter, refuse } from '../operator.ts';
import { activate } from './activations.ts';
import { where } from './elementwise.ts';

const matMul: Converter = (node) => {
  const dtype = node.dtype(0);
  const isTurnedA = node.bool('transpose_a');
  const isTurnedB = node.bool('transpose_b');
  const fused = [...node.strings('fused_ops', [])];
  const b = node.weight(1, { order: isTurnedB ? [1, 0] : [0, 1], channels: 1 });
  const a = isTurnedA ? node.emit('Transpose', [node.in(0)], { perm: [1, 0] }) : node.in(0);
  let argument = 2;
  let name: string;
  if (fused[0] === 'BiasAdd' && node.shape(2)?.length === 1 && (dtype === 'float32' || dtype === 'float16')) {
    name = node.emit('Gemm', [a, b, node.in(argument++)]);
    fused.shift();
  } else name = node.emitTyped('MatMul', [a, b], { dtype });
  for (const kind of fused) {
    if (kind === 'BiasAdd' || kind === 'Add') name = node.emitTyped('Add', [name, node.in(argument++)], { dtype });
    else if (kind === 'Prelu') name = node.emit('PRelu', [name, node.in(argument++)]);
    else name = activate(node, kind, name, dtype);
  }
  node.set(0, name);
};

const batchMatMul: Converter = (node) => {
  const dtype = node.dtype(0);
  const turned = (index: number, isTurned: boolean) => {
    if (!isTurned) return node.constant(index) ? node.weight(index, weightForm(node.rank(index))) : node.in(index);
    const rank = node.rank(index);
    const order = [...Array.from({ length: rank - 2 }, (_, axis) => axis), rank - 1, rank - 2];
    return node.weight(index, { order, channels: rank - 1 });
  };
  const a = turned(0, node.bool('adj_x'));
  const b = turned(1, node.bool('adj_y'));
  node.set(0, node.emitTyped('MatMul', [a, b], { dtype }));
};

function weightForm(rank: number) {
  return { order: Array.from({ length: rank }, (_, axis) => axis), channels: rank - 1 };
}

const einsum: Converter = (node) => {
  const equation = node.string('equation').replaceAll(' ', '');
  node.set(
    0,
    node.emitTyped(
      'Einsum',
      node.inputs.map((_, index) => node.in(index)),
      { dtype: node.dtype(0), attributes: { equation } },
    ),
  );
};

/** The lower and upper bands around the diagonal that stay; a negative count keeps all. */
const bandPart: Converter = (node) => {
  const dtype = node.dtype(0);
  const lower = node.needScalar(1, 'the number of lower diagonals');
  const upper = node.needScalar(2, 'the number of upper diagonals');
  let name = node.in(0);
  const keep = (isUpper: number, k: number) =>
    node.emitTyped('Trilu', [name, node.literal('int64', [k], [])], { dtype, attributes: { upper: isUpper } });
  if (lower >= 0) name = keep(1, -lower);
  if (upper >= 0) name = keep(0, upper);
  node.set(0, name);
};

const softmax =
  (op: 'Softmax' | 'LogSoftmax'): Converter =>
  (node) => {
    node.set(0, node.emitTyped(op, [node.in(0)], { dtype: node.dtype(0), attributes: { axis: -1 } }));
  };

const cumulative: Converter = (node) => {
  const attributes = { exclusive: node.bool('exclusive') ? 1 : 0, reverse: node.bool('reverse') ? 1 : 0 };
  const axis = node.known(1) ? node.literal('int64', [node.needScalar(1, 'an axis')], []) : node.in(1);
  node.set(0, node.emitTyped('CumSum', [node.in(0), axis], { dtype: node.dtype(0), attributes }));
};

/** Sorted values with their indices. */
const topK: Converter = (node) => {
  const dtype = node.dtype(0);
  const count = node.known(1) ? node.ints([node.needScalar(1, 'a count')]) : node.emit('Reshape', [node.inInt64(1), node.ints([1])]);
  const attributes = { axis: -1, largest: 1, sorted: node.bool('sorted', true) ? 1 : 0 };
  const [values, indices] = node.emitMany('TopK', [node.in(0), count], attributes, 2) as [string, string];
  node.set(0, values);
  node.set(1, indices, { held: 'int64' });
  if (!['float16', 'float32', 'float64', 'int32', 'int64', 'int8', 'uint8', 'int16'].includes(dtype))
    refuse(`ONNX Runtime has no TopK of ${dtype}`);
};

const topKWithAttribute: Converter = (node) => {
  const [values, indices] = node.emitMany('TopK', [node.in(0), node.ints([node.number('k')])], { axis: -1 }, 2) as [string, string];
  node.set(0, values);
  node.set(1, indices, { held: 'int64' });
};

const unique: Converter = (node) => {
  const dtype = node.dtype(0);
  const isWide = dtype === 'int32' || dtype === 'uint8' || dtype === 'int16';
  const input = isWide ? node.in(0, 'plain', 'int64') : node.in(0);
  const [values, , inverse, counts] = node.emitMany('Unique', [input], { sorted: 0 }, 4) as [string, string, string, string];
  node.set(0, values, { held: isWide ? 'int64' : dtype });
  node.set(1, inverse, { held: 'int64' });
  if (node.node.op === 'UniqueWithCounts') node.set(2, counts, { held: 'int64' });
};

const range: Converter = (node) => {
  const dtype = node.dtype(0);
  node.set(
    0,
    node.emitTyped(
      'Range',
      [0, 1, 2].map((index) => node.in(index)),
      { dtype },
    ),
  );
};

/** More are counted when the model runs. */
const MAX_CLASSES = 4096;

/** Compared with each class, as TensorFlow does: an index outside of them has none, where ONNX's OneHot counts negative ones from the end. */
const oneHot: Converter = (node) => {
  const rank = node.rank(0);
  const axis = node.number('axis', -1);
  const at = axis < 0 ? rank : axis;
  const indexType = node.dtype(0) === 'int64' ? 'int64' : 'int32';
  const indices = node.emit('Unsqueeze', [node.in(0, 'plain', indexType), node.ints([at])]);
  const depth = node.known(1)?.[0];
  const classes =
    depth === undefined || depth < 0 || depth > MAX_CLASSES
      ? node.emit('Range', [node.scalar(indexType, 0), node.in(1, 'plain', indexType), node.scalar(indexType, 1)])
      : node.literal(
          indexType,
          Array.from({ length: depth }, (_, index) => index),
        );
  const shaped = node.emit('Unsqueeze', [classes, node.ints(Array.from({ length: rank - at }, (_, index) => index + 1))]);
  const isHot = node.emit('Equal', [indices, at === rank ? classes : shaped]);
  const dtype = node.dtype(2);
  if (dtype === 'bool' && node.known(2)?.[0] === 1 && node.known(3)?.[0] === 0) return void node.set(0, isHot);
  node.set(0, where(node, dtype, isHot, node.in(2), node.in(3)));
};

const nonMaxSuppression: Converter = (node) => {
  const { op } = node.node;
  const boxes = node.emit('Unsqueeze', [node.in(0, 'plain', 'float32'), node.ints([0])]);
  const scores = node.emit('Unsqueeze', [node.in(1, 'plain', 'float32'), node.ints([0, 1])]);
  const flat = (index: number, dtype: 'int64' | 'float32') => node.emit('Reshape', [node.in(index, 'plain', dtype), node.ints([1])]);
  const overlap = op === 'NonMaxSuppression' ? node.literal('float32', [node.number('iou_threshold', 0.5)]) : flat(3, 'float32');
  const hasThreshold = op !== 'NonMaxSuppression' && op !== 'NonMaxSuppressionV2';
  if (op === 'NonMaxSuppressionV5' && node.known(5)?.[0] !== 0) refuse('has soft suppression');
  if (attribute.boolOf(node.node, 'pad_to_max_output_size', false)) refuse('pads its result');
  const inputs = [boxes, scores, flat(2, 'int64'), overlap, ...(hasThreshold ? [flat(4, 'float32')] : [])];
  const found = node.emit('NonMaxSuppression', inputs);
  const chosen = node.emit('Gather', [found, node.scalar('int64', 2)], { axis: 1 });
  node.set(0, chosen, { held: 'int64' });
  if (op === 'NonMaxSuppressionV5') node.set(1, node.emit('Gather', [node.in(1), chosen]));
  const valid = op === 'NonMaxSuppressionV4' ? 1 : op === 'NonMaxSuppressionV5' ? 2 : undefined;
  if (valid !== undefined) node.set(valid, node.emit('Size', [chosen]), { held: 'int64' });
};

export const matrixOperators: Readonly<Record<string, Converter>> = {
  MatMul: matMul,
  _FusedMatMul: matMul,
  BatchMatMul: batchMatMul,
  BatchMatMulV2: batchMatMul,
  BatchMatMulV3: batchMatMul,
  Einsum: einsum,
  MatrixBandPart: bandPart,
  Softmax: softmax('Softmax'),
  LogSoftmax: softmax('LogSoftmax'),
  Cumsum: cumulative,
  TopKV2: topK,
  TopK: topKWithAttribute,
  Unique: unique,
  UniqueWithCounts: unique,
  Range: range,
  OneHot: oneHot,
  NonMaxSuppression: nonMaxSuppression,
  NonMaxSuppressionV2: nonMaxSuppression,
  NonMaxSuppressionV3: nonMaxSuppression,
  NonMaxSuppressionV4: nonMaxSuppression,
  NonMaxSuppressionV5: nonMaxSuppression,
};

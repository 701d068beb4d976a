import type { DType } from '../../../tensor/index.ts';
import { type Converter, type Operator, refuse } from '../operator.ts';
import { shapeInput } from './shaping.ts';

// What picks and places elements by their indices.

const gather: Converter = (node) => {
  const rank = node.shape(0)?.length;
  const given = node.node.op === 'GatherV2' ? node.needScalar(2, 'an axis') : 0;
  const axis = rank === undefined ? given : node.axis(given, rank);
  const indexRank = node.shape(1)?.length;
  const batch = node.number('batch_dims', 0);
  const batches = batch < 0 ? batch + (indexRank ?? refuse('needs the rank of its indices')) : batch;
  const indexType = node.dtype(1) === 'int64' ? 'int64' : 'int32';
  if (batches === 0) {
    const isTable = node.constant(0) !== undefined && rank === 2 && axis === 0;
    const table = isTable ? node.weight(0, { order: [0, 1], channels: 0 }) : node.in(0, 'plain', heldShape(node));
    return void node.set(0, node.emit('Gather', [table, node.in(1, 'plain', indexType)], { axis }), { held: heldShape(node) });
  }
  if (axis !== batches) refuse(`gathers along axis ${axis} behind ${batches} batch axes`);
  const indices = node.emit('Unsqueeze', [node.inInt64(1), node.ints([indexRank ?? refuse('needs the rank of its indices')])]);
  node.set(0, node.emit('GatherND', [node.in(0), indices], { batch_dims: batches }));
};

/** A shape that is int64 already stays so. */
function heldShape(node: Operator): DType {
  const dtype = node.dtype(0);
  const { forms, constant } = node.value(0);
  return dtype === 'int32' && !constant && forms.has('plain/int64') ? 'int64' : dtype;
}

const gatherNd: Converter = (node) => void node.set(0, node.emit('GatherND', [node.in(0), node.inInt64(1)]));

const scatterNd: Converter = (node) => {
  const dtype = node.dtype(1);
  const zeros = node.emit('Expand', [node.scalar(dtype, 0), shapeInput(node, fullShape(node.known(2)), () => node.inInt64(2))]);
  node.set(0, node.emit('ScatterND', [zeros, node.inInt64(0), node.in(1)], { reduction: 'add' }));
};

function fullShape(shape: readonly number[] | undefined): readonly number[] | undefined {
  return shape?.every((size) => size > 0) ? shape : undefined;
}

const tensorScatter =
  (reduction: 'none' | 'add' | 'max' | 'min'): Converter =>
  (node) =>
    void node.set(0, node.emit('ScatterND', [node.in(0), node.inInt64(1), node.in(2)], { reduction }), {
      dtype: node.value(0).dtype,
      shape: node.shape(0),
    });

const whereTrue: Converter = (node) => {
  const found = node.emitTyped('NonZero', [node.in(0)], { dtype: node.dtype(0), isSame: false });
  node.set(0, node.emit('Transpose', [found], { perm: [1, 0] }), { held: 'int64' });
};

export const gatheringOperators: Readonly<Record<string, Converter>> = {
  Gather: gather,
  GatherV2: gather,
  GatherNd: gatherNd,
  ScatterNd: scatterNd,
  TensorScatterUpdate: tensorScatter('none'),
  TensorScatterAdd: tensorScatter('add'),
  TensorScatterMax: tensorScatter('max'),
  TensorScatterMin: tensorScatter('min'),
  Where: whereTrue,
};

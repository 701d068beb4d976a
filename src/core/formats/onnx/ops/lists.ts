import { type Converter, type Operator, refuse } from '../operator.ts';

// A TensorList is a tensor whose first axis counts its elements. A list that is reserved before its elements' sizes are known has 1 for
// them: the first element that is set spreads it (Where broadcasts), and the variables of a Loop may change their shapes.

const reserve: Converter = (node) => {
  const dtype = elementType(node);
  const element = elementShape(node, 0) ?? refuse('needs the rank of its elements');
  const sizes = element.map((size) => (size < 0 ? 1 : size));
  const count = node.known(1)?.[0];
  const shape =
    count === undefined
      ? node.emit('Concat', [node.emit('Reshape', [node.inInt64(1), node.ints([1])]), node.ints(sizes)], { axis: 0 })
      : node.ints([count, ...sizes]);
  const held = node.held(dtype);
  const name = node.emit('Expand', [node.scalar(held, 0), shape]);
  node.set(0, name, { dtype, held, shape: [count ?? -1, ...element] });
};

const fromTensor: Converter = (node) => node.outputs.set(0, node.value(0)) && undefined;

const setItem: Converter = (node) => {
  const list = node.value(0);
  const rank = node.rank(2);
  const dtype = node.dtype(2);
  if (list.shape !== undefined && list.shape.length !== rank + 1)
    refuse(`sets an element of rank ${rank} in a list of rank ${list.shape.length - 1}`);
  const name = node.builder.form(list, 'plain', dtype);
  const size = node.emit('Shape', [name], { start: 0, end: 1 });
  const indices = node.emit('Range', [node.scalar('int64', 0), node.emit('Squeeze', [size]), node.scalar('int64', 1)]);
  const isIt = node.emit('Equal', [indices, node.inInt64(1)]);
  const axes = Array.from({ length: rank }, (_, axis) => axis + 1);
  const mask = rank === 0 ? isIt : node.emit('Unsqueeze', [isIt, node.ints(axes)]);
  const element = node.emit('Unsqueeze', [node.in(2), node.ints([0])]);
  const set = dtype === 'bool' ? refuse('sets elements that are bool') : node.emit('Where', [mask, element, name]);
  node.set(0, set, { dtype: node.value(2).dtype, held: dtype, shape: [list.shape?.[0] ?? -1, ...(node.shape(2) ?? [])] });
};

const getItem: Converter = (node) => {
  const { dtype, shape } = node.value(0);
  const index = node.dtype(1) === 'int64' ? 'int64' : 'int32';
  node.set(0, node.emit('Gather', [node.in(0), node.in(1, 'plain', index)], { axis: 0 }), {
    dtype,
    shape: node.outputShape() ?? shape?.slice(1),
  });
};

const stack: Converter = (node) => {
  const { dtype, shape } = node.value(0);
  node.set(0, node.in(0), { dtype, shape: node.outputShape() ?? shape });
};

const length: Converter = (node) => {
  const size = node.emit('Shape', [node.in(0)], { start: 0, end: 1 });
  node.set(0, node.emit('Reshape', [size, node.literal('int64', [], [0])]), { held: 'int64' });
};

/** The shape of the elements; undefined when not even the rank is known. */
function elementShape(node: Operator, index: number): readonly number[] | undefined {
  const known = node.known(index);
  const isVector = node.shape(index)?.length === 1;
  return isVector ? known : node.listHint();
}

function elementType(node: Operator) {
  const type = node.node.attributes['element_dtype'];
  if (type?.kind === 'type' && type.value !== 'resource' && type.value !== 'variant') return type.value;
  return refuse('is a list of handles');
}

export const tensorLists: Readonly<Record<string, Converter>> = {
  TensorListReserve: reserve,
  TensorListFromTensor: fromTensor,
  TensorListSetItem: setItem,
  TensorListGetItem: getItem,
  TensorListStack: stack,
  TensorListLength: length,
};

import { describe, expect, test } from 'vitest';
import { attribute, type Edge } from '../../../../src/core/formats/graph/index.ts';
import { inferShapes } from '../../../../src/core/formats/passes/index.ts';
import { GraphBuilder, tensor } from './graph-builder.ts';

const f32 = { T: attribute.type('float32') };

async function shapeOf(graph: GraphBuilder, edge: Edge): Promise<readonly number[] | undefined> {
  return (await inferShapes(graph.model({ out: edge }))).of(edge).shape;
}

describe('shape arithmetic', () => {
  test('knows the shape of a Keras Flatten of an unknown batch', async () => {
    const graph = new GraphBuilder();
    const x = graph.input('x', [-1, 7, 7, 4]);
    const flat = graph.op('Reshape', [x, graph.ints(-1, 196)]);
    const batch = graph.op('StridedSlice', [graph.op('Shape', [x]), graph.ints(0), graph.ints(1), graph.ints(1)], {
      shrink_axis_mask: attribute.int(1),
    });
    const computed = graph.op('Reshape', [x, graph.op('Pack', [batch, graph.int(49), graph.int(4)])]);
    const open = graph.op('Reshape', [x, graph.op('Pack', [batch, graph.int(-1)])]);

    const table = await inferShapes(graph.model({ flat, computed, open }));

    expect(table.of(flat).shape).toEqual([-1, 196]);
    expect(table.of(computed).shape).toEqual([-1, 49, 4]);
    expect(table.of(open).shape).toEqual([-1, -1]);
  });

  test('carries sizes through arithmetic, concatenation and casts', async () => {
    const graph = new GraphBuilder();
    const x = graph.input('x', [-1, 6, 5, 3]);
    const shape = graph.op('Shape', [x], { out_type: attribute.type('int64') });
    const spatial = graph.op('StridedSlice', [shape, graph.ints(1), graph.ints(3), graph.ints(1)]);
    const narrow = graph.op('Cast', [spatial], { DstT: attribute.type('int32') });
    const doubled = graph.op('Mul', [narrow, graph.int(2)]);
    const resized = graph.op('ResizeBilinear', [x, doubled]);
    const batch = graph.op('Slice', [graph.op('Shape', [x]), graph.ints(0), graph.ints(1)]);
    const spread = graph.op('BroadcastTo', [graph.float(1), graph.op('ConcatV2', [batch, graph.ints(8), graph.int(0)])]);
    const filled = graph.op('Fill', [graph.op('ConcatV2', [batch, doubled, graph.int(0)]), graph.float(0)]);

    const table = await inferShapes(graph.model({ resized, spread, filled }));

    expect(table.of(resized)).toEqual({ dtype: 'float32', shape: [-1, 12, 10, 3] });
    expect(table.of(spread).shape).toEqual([-1, 8]);
    expect(table.of(filled).shape).toEqual([-1, 12, 10]);
    expect(table.of(doubled)).toEqual({ dtype: 'int32', shape: [2], values: [12, 10] });
  });

  test('resolves a reshape to the rest once all sizes are known', async () => {
    const graph = new GraphBuilder();
    const x = graph.input('x', [2, 6]);

    expect(await shapeOf(graph, graph.op('Reshape', [x, graph.ints(-1, 4)]))).toEqual([3, 4]);
  });

  test('does not claim values that an int32 would have wrapped', async () => {
    const graph = new GraphBuilder();
    const x = graph.input('x', [-1, 2 ** 20]);
    const product = graph.op('Mul', [graph.op('Shape', [x]), graph.int(2 ** 20)]);

    expect((await inferShapes(graph.model({ product }))).of(product).values).toEqual([undefined, undefined]);
  });
});

test('leaves what an operator without a rule makes unknown', async () => {
  const graph = new GraphBuilder();
  const odd = graph.op('MyCustomOp', [graph.input('x', [1])]);
  const typed = graph.op('MyCustomOp', [odd], { dtype: attribute.type('int32') });
  const after = graph.op('AddV2', [odd, graph.float(1)], f32);

  const table = await inferShapes(graph.model({ after, typed }));

  expect(table.of(odd)).toEqual({ dtype: 'variant', shape: undefined });
  expect(table.of(typed)).toEqual({ dtype: 'int32', shape: undefined });
  expect(table.of(after).shape).toBeUndefined();
  expect(table.of({ node: 'constructor', index: 0 }).shape).toBeUndefined();
});

test('takes the shape a signature declares when the placeholder has none', async () => {
  const graph = new GraphBuilder();
  const x = graph.input('x', undefined);
  const y = graph.op('Relu', [x]);
  const { nodes, functions, signatures, unusable } = graph.model({ y });
  const declared = { node: 'x', dtype: 'float32', shape: [-1, 3] } as const;
  const signature = { ...signatures['serving_default']!, inputs: { x: declared } };

  const table = await inferShapes({ nodes, functions, unusable, signatures: { serving_default: signature } });

  expect(table.of(y).shape).toEqual([-1, 3]);
});

describe('control flow', () => {
  test('keeps what both branches of a Switch have in common', async () => {
    const graph = new GraphBuilder();
    const x = graph.input('x', [-1, 4]);
    const choice = graph.op('Switch', [x, graph.input('p', [], 'bool')]);
    const wide = graph.op('ConcatV2', [{ ...choice, index: 1 }, graph.floats([1, 4]), graph.int(0)]);
    const narrow = graph.op('Slice', [choice, graph.ints(0, 0), graph.ints(1, 4)]);

    expect(await shapeOf(graph, graph.op('Merge', [wide, narrow]))).toEqual([-1, 4]);
  });

  test('makes sizes that change in a loop of TensorFlow 1 unknown', async () => {
    const graph = new GraphBuilder();
    const enterGrowing = graph.op('Enter', [graph.floats([1, 4])]);
    const enterFixed = graph.op('Enter', [graph.floats([2, 3])]);
    const growing = graph.op('Merge', [enterGrowing, { node: 'nextGrowing', index: 0 }], {}, 'growing');
    const fixed = graph.op('Merge', [enterFixed, { node: 'nextFixed', index: 0 }], {}, 'fixed');
    const longer = graph.op('ConcatV2', [growing, graph.floats([1, 4]), graph.int(0)]);
    graph.op('NextIteration', [longer], {}, 'nextGrowing');
    graph.op('NextIteration', [graph.op('Relu', [fixed])], {}, 'nextFixed');

    const table = await inferShapes(graph.model({ growing, fixed }));

    expect(table.of(growing).shape).toEqual([-1, 4]);
    expect(table.of(longer).shape).toEqual([-1, 4]);
    expect(table.of(fixed).shape).toEqual([2, 3]);
  });

  test('infers bodies of functions from their arguments and what they return', async () => {
    const body = new GraphBuilder();
    const counter = body.op('_Arg', [], { index: attribute.int(0), T: attribute.type('int32') }, 'i');
    const list = body.op('_Arg', [], { index: attribute.int(1), T: attribute.type('float32') }, 'list');
    const state = body.op('_Arg', [], { index: attribute.int(2), T: attribute.type('float32') }, 'state');
    const next = body.op('AddV2', [counter, body.int(1)]);
    const longer = body.op('ConcatV2', [list, state, body.int(0)]);
    const done = body.op('Tanh', [state]);
    const cond = new GraphBuilder();
    const i = cond.op('_Arg', [], { index: attribute.int(0) }, 'i');
    const isLess = cond.op('Less', [i, cond.int(3)]);
    const graph = new GraphBuilder();
    graph.functions.set('body', { inputs: ['i', 'list', 'state'], outputs: [next, longer, done], nodes: body.nodes });
    graph.functions.set('cond', { inputs: ['i'], outputs: [isLess], nodes: cond.nodes });
    const x = graph.input('x', [-1, 4]);
    const loop = graph.op('StatelessWhile', [graph.int(0), graph.floats([1, 4]), x], {
      body: { kind: 'function', value: 'body' },
      cond: { kind: 'function', value: 'cond' },
    });

    const table = await inferShapes(graph.model({ list: { ...loop, index: 1 } }));

    expect(table.of(loop)).toEqual({ dtype: 'int32', shape: [] });
    expect(table.of({ ...loop, index: 1 }).shape).toEqual([-1, 4]);
    expect(table.of({ ...loop, index: 2 }).shape).toEqual([-1, 4]);
    expect(table.of(done, 'body').shape).toEqual([-1, 4]);
    expect(table.of(counter, 'body').values).toBeUndefined();
    expect(table.of(isLess, 'cond').dtype).toBe('bool');
  });

  test('stops at functions that call themselves', async () => {
    const body = new GraphBuilder();
    const x = body.op('_Arg', [], { index: attribute.int(1) }, 'x');
    const call = body.op('StatelessIf', [body.constant(tensor('bool', [], [true])), x, x], {
      then_branch: { kind: 'function', value: 'f' },
      else_branch: { kind: 'function', value: 'f' },
    });
    const graph = new GraphBuilder();
    graph.functions.set('f', { inputs: ['x'], outputs: [call], nodes: body.nodes });
    const out = graph.op('StatelessIf', [graph.input('p', [], 'bool'), graph.input('x', [2])], {
      then_branch: { kind: 'function', value: 'f' },
      else_branch: { kind: 'function', value: 'f' },
    });

    expect(await shapeOf(graph, out)).toBeUndefined();
  });
});

test('types the outputs of ParseExample', async () => {
  const graph = new GraphBuilder();
  const serialized = graph.input('examples', [-1], 'string');
  const parsed = graph.op('ParseExample', [serialized], {
    Nsparse: attribute.int(1),
    Ndense: attribute.int(2),
    sparse_types: attribute.types(['int64']),
    Tdense: attribute.types(['float32', 'string']),
    dense_shapes: { kind: 'list', value: [attribute.shape([1]), attribute.shape([2, 3])] },
  });

  const table = await inferShapes(graph.model({ parsed }));

  const outputs = Array.from({ length: 5 }, (_, index) => table.of({ ...parsed, index }));
  expect(outputs).toEqual([
    { dtype: 'int64', shape: [-1, 2] },
    { dtype: 'int64', shape: [-1] },
    { dtype: 'int64', shape: [2] },
    { dtype: 'float32', shape: [-1, 1] },
    { dtype: 'string', shape: [-1, 2, 3] },
  ]);
});

test('infers a chain of 20,000 nodes without a deep stack', async () => {
  const graph = new GraphBuilder();
  let edge = graph.input('x', [-1, 2]);
  for (let i = 0; i < 20_000; i++) edge = graph.op('Relu', [edge]);

  expect(await shapeOf(graph, edge)).toEqual([-1, 2]);
});

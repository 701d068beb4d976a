import { describe, expect, test, vi } from 'vitest';
import { attribute, type Constant, type Edge, type ModelGraph, toConstant } from '../../../../src/core/formats/graph/index.ts';
import { optimize } from '../../../../src/core/formats/passes/index.ts';
import type { AnyTensor, TensorMap } from '../../../../src/core/tensor/index.ts';
import { floats, GraphBuilder, opsOf, runGraph, tensor } from './graph-builder.ts';

const conv = {
  T: attribute.type('float32'),
  strides: attribute.ints([1, 1, 1, 1]),
  padding: attribute.string('SAME'),
  data_format: attribute.string('NHWC'),
  dilations: attribute.ints([1, 1, 1, 1]),
};
const matMul = { T: attribute.type('float32'), transpose_a: attribute.bool(false), transpose_b: attribute.bool(false) };
const norm = { is_training: attribute.bool(false), epsilon: attribute.float(0.001), data_format: attribute.string('NHWC') };

/** The optimised model, once it has been shown to answer as before. */
async function optimized(model: ModelGraph, inputs: TensorMap): Promise<ModelGraph> {
  const before = await runGraph(model, inputs);

  const result = await optimize(model);

  expectClose(await runGraph(result, inputs), before);
  return result;
}

function expectClose(got: TensorMap, want: TensorMap): void {
  expect(Object.keys(got)).toEqual(Object.keys(want));
  for (const [name, expected] of Object.entries(want)) {
    const actual = got[name]!;
    expect({ dtype: actual.dtype, shape: [...actual.shape] }).toEqual({ dtype: expected.dtype, shape: [...expected.shape] });
    const values = Array.from(expected.data as Float32Array, Number);
    const largest = Math.max(...values.map(Math.abs));
    const difference = Math.max(...values.map((value, i) => Math.abs(Number(actual.data[i]) - value)));
    expect(difference).toBeLessThanOrEqual(largest * 2e-6);
  }
}

function positive(shape: readonly number[], seed: number): AnyTensor {
  const values = Array.from(floats(shape, seed).data as Float32Array, (value) => Math.abs(value) + 0.1);
  return tensor('float32', shape, values);
}

describe('scales and batch normalisation', () => {
  test('fold a Keras 3 batch normalisation, with bias and Relu6, into one convolution', async () => {
    const graph = new GraphBuilder();
    const x = graph.input('x', [-1, 6, 6, 3]);
    const product = graph.op('Conv2D', [x, graph.floats([3, 3, 3, 4])], conv);
    const variance = graph.op('AddV2', [graph.constant(positive([4], 5)), graph.float(0.001)]);
    const factor = graph.op('Mul', [graph.op('Rsqrt', [variance]), graph.floats([4])]);
    const scaled = graph.op('Mul', [product, graph.op('Reshape', [factor, graph.ints(1, 1, 1, 4)])]);
    const shift = graph.op('Sub', [graph.floats([4]), graph.op('Mul', [graph.floats([4]), factor])]);
    const y = graph.op('Relu6', [graph.op('AddV2', [scaled, shift])], {}, 'y');

    const result = await optimized(graph.model({ y }), { x: floats([2, 6, 6, 3]) });

    expect(opsOf(result.nodes)).toEqual({ Placeholder: 1, _FusedConv2D: 1 });
    expect(result.signatures['serving_default']?.outputs['y']?.edge).toEqual({ node: 'y', index: 0 });
    expect(attribute.stringsOf(result.nodes.get('y')!, 'fused_ops')).toEqual(['BiasAdd', 'Relu6']);
  });

  test.each(['FusedBatchNorm', 'FusedBatchNormV3'])('fold %s into a depthwise convolution with a multiplier', async (op) => {
    const graph = new GraphBuilder();
    const x = graph.input('x', [-1, 5, 5, 3]);
    const depthwise = graph.op('DepthwiseConv2dNative', [x, graph.floats([3, 3, 3, 2])], conv);
    const biased = graph.op('BiasAdd', [depthwise, graph.floats([6])]);
    const y = graph.op(op, [biased, graph.floats([6]), graph.floats([6]), graph.floats([6]), graph.constant(positive([6], 3))], norm);

    const result = await optimized(graph.model({ y }), { x: floats([1, 5, 5, 3]) });

    expect(opsOf(result.nodes)).toEqual({ Placeholder: 1, FusedDepthwiseConv2dNative: 1 });
  });

  test('fold chains of all four operations, constants on either side, into a product of matrices', async () => {
    for (const transposed of [false, true]) {
      const graph = new GraphBuilder();
      const x = graph.input('x', [-1, 3]);
      const weights = graph.floats(transposed ? [4, 3] : [3, 4]);
      let y = graph.op('MatMul', [x, weights], { ...matMul, transpose_b: attribute.bool(transposed) });
      y = graph.op('AddV2', [graph.floats([4]), y]);
      y = graph.op('Mul', [graph.floats([1, 4]), y]);
      y = graph.op('Sub', [y, graph.float(0.25)]);
      y = graph.op('RealDiv', [y, graph.constant(positive([4], 8))]);
      y = graph.op('Sub', [graph.floats([4]), y]);
      y = graph.op('Sigmoid', [y]);

      const result = await optimized(graph.model({ y }), { x: floats([5, 3]) });

      expect(opsOf(result.nodes)).toEqual({ Placeholder: 1, _FusedMatMul: 1 });
    }
  });

  test('fold a scale of the input, and of the output of a transposed convolution', async () => {
    const graph = new GraphBuilder();
    const x = graph.input('x', [-1, 4, 4, 2]);
    const scaled = graph.op('Mul', [x, graph.floats([1, 1, 1, 2])]);
    const first = graph.op('Conv2D', [scaled, graph.floats([3, 3, 2, 3])], conv);
    const up = graph.op('Conv2DBackpropInput', [graph.ints(1, 8, 8, 5), graph.floats([3, 3, 5, 3]), first], {
      ...conv,
      strides: attribute.ints([1, 2, 2, 1]),
    });
    const y = graph.op('AddV2', [graph.op('Mul', [up, graph.floats([5])]), graph.floats([5])]);

    const result = await optimized(graph.model({ y }), { x: floats([1, 4, 4, 2]) });

    expect(opsOf(result.nodes)).toEqual({ Placeholder: 1, Conv2D: 1, Conv2DBackpropInput: 1, BiasAdd: 1 });
  });

  test('put a product between two layers into one of them only', async () => {
    const graph = new GraphBuilder();
    const x = graph.input('x', [-1, 4, 4, 2]);
    const first = graph.op('Conv2D', [x, graph.floats([1, 1, 2, 3])], conv);
    const scaled = graph.op('Mul', [first, graph.floats([3])]);
    const y = graph.op('Conv2D', [scaled, graph.floats([3, 3, 3, 2])], conv);

    const result = await optimized(graph.model({ y }), { x: floats([1, 4, 4, 2]) });

    expect(opsOf(result.nodes)).toEqual({ Placeholder: 1, Conv2D: 2 });
  });

  test('leave what others read, what is not by channel and what is not constant', async () => {
    const graph = new GraphBuilder();
    const x = graph.input('x', [-1, 4, 4, 2]);
    const product = graph.op('Conv2D', [x, graph.floats([1, 1, 2, 2])], conv);
    const a = graph.op('Mul', [product, graph.floats([2])]);
    const b = graph.op('Conv2D', [x, graph.floats([1, 1, 2, 2])], conv);
    const byRow = graph.op('Mul', [b, graph.floats([4, 1, 1])]);
    const byInput = graph.op('Mul', [graph.op('Conv2D', [x, graph.floats([1, 1, 2, 2])], conv), x]);

    const result = await optimized(graph.model({ product, a, byRow, byInput }), { x: floats([1, 4, 4, 2]) });

    expect(opsOf(result.nodes)).toEqual({ Placeholder: 1, Conv2D: 3, Mul: 3 });
  });

  test('do not copy a large weight that several layers share, unless all want it changed alike', async () => {
    const build = (seeds: readonly [number, number]) => {
      const graph = new GraphBuilder();
      const weights = graph.constant(floats([1, 1, 128, 256]));
      const outputs = seeds.map((seed, i) => {
        const x = graph.input(`x${i}`, [1, 1, 1, 128]);
        return graph.op('Mul', [graph.op('Conv2D', [x, weights], conv), graph.constant(floats([256], seed))]);
      });
      return graph.model({ a: outputs[0]!, b: outputs[1]! });
    };
    const inputs = { x0: floats([1, 1, 1, 128]), x1: floats([1, 1, 1, 128], 2) };

    const different = await optimized(build([3, 4]), inputs);
    const alike = await optimized(build([3, 3]), inputs);

    expect(opsOf(different.nodes)).toEqual({ Placeholder: 2, Conv2D: 2, Mul: 2 });
    expect(opsOf(alike.nodes)).toEqual({ Placeholder: 2, Conv2D: 2 });
    expect([...alike.nodes.values()].filter(({ op }) => op === 'Const')).toHaveLength(1);
  });

  test('read weights only when they are written', async () => {
    const load = vi.fn(async () => floats([3, 3, 64, 64]));
    const weights: Constant = { ...toConstant(floats([3, 3, 64, 64])), load };
    const graph = new GraphBuilder();
    const x = graph.input('x', [-1, 4, 4, 64]);
    const y = graph.op('Mul', [graph.op('Conv2D', [x, graph.constant(weights)], conv), graph.floats([64])]);

    const result = await optimize(graph.model({ y }));

    expect(opsOf(result.nodes)).toEqual({ Placeholder: 1, Conv2D: 1 });
    expect(load).not.toHaveBeenCalled();
  });
});

describe('fusion', () => {
  test.each(['Relu', 'Relu6', 'Elu', 'Sigmoid', 'LeakyRelu'])('joins a convolution without bias with %s', async (op) => {
    const graph = new GraphBuilder();
    const x = graph.input('x', [-1, 4, 4, 2]);
    const product = graph.op('Conv2D', [x, graph.floats([3, 3, 2, 3])], conv);
    const y = graph.op(op, [product], op === 'LeakyRelu' ? { alpha: attribute.float(0.3) } : {});

    const result = await optimized(graph.model({ y }), { x: floats([1, 4, 4, 2]) });

    expect(opsOf(result.nodes)).toEqual({ Placeholder: 1, _FusedConv2D: 1 });
  });

  test('keeps LeakyRelu after a depthwise convolution, whose fused form has no slope', async () => {
    const graph = new GraphBuilder();
    const x = graph.input('x', [-1, 4, 4, 2]);
    const product = graph.op('DepthwiseConv2dNative', [x, graph.floats([3, 3, 2, 1])], conv);
    const y = graph.op('LeakyRelu', [graph.op('BiasAdd', [product, graph.floats([2])])], { alpha: attribute.float(0.3) });

    const result = await optimized(graph.model({ y }), { x: floats([1, 4, 4, 2]) });

    expect(opsOf(result.nodes)).toEqual({ Placeholder: 1, FusedDepthwiseConv2dNative: 1, LeakyRelu: 1 });
  });

  test('leaves an activation whose input is an output too, and layers with channels first', async () => {
    const graph = new GraphBuilder();
    const x = graph.input('x', [-1, 3]);
    const biased = graph.op('AddV2', [graph.op('MatMul', [x, graph.floats([3, 3])], matMul), graph.floats([3])]);
    const y = graph.op('Relu', [biased]);
    const first = { ...conv, data_format: attribute.string('NCHW') };
    const image = graph.input('image', [-1, 2, 4, 4]);
    const z = graph.op('Relu', [graph.op('Conv2D', [image, graph.floats([3, 3, 2, 3])], first)]);

    const result = await optimize(graph.model({ biased, y, z }));

    expect(opsOf(result.nodes)).toEqual({ Placeholder: 2, _FusedMatMul: 1, Relu: 2, Conv2D: 1 });
  });

  test('knows bounds of zero and six as Relu6', async () => {
    const graph = new GraphBuilder();
    const x = graph.input('x', [-1, 3]);
    const both = graph.op('Minimum', [graph.op('Maximum', [x, graph.float(0)]), graph.float(6)]);
    const clipped = graph.op('ClipByValue', [x, graph.float(0), graph.float(6)]);
    const other = graph.op('ClipByValue', [x, graph.float(0), graph.float(1)]);

    const result = await optimized(graph.model({ both, clipped, other }), { x: tensor('float32', [2, 3], [-1, 0, 3, 6, 7, 0.5]) });

    expect(opsOf(result.nodes)).toEqual({ Placeholder: 1, Relu6: 1, ClipByValue: 1 });
  });
});

describe('cleaning up', () => {
  test('removes what changes nothing', async () => {
    const graph = new GraphBuilder();
    const x = graph.input('x', [-1, 4]);
    let y: Edge = graph.op('Identity', [x]);
    y = graph.op('StopGradient', [y]);
    y = graph.op('Cast', [y], { DstT: attribute.type('float32') });
    y = graph.op('Reshape', [y, graph.ints(-1, 4)]);
    y = graph.op('Transpose', [y, graph.ints(0, 1)]);
    y = graph.op('Tile', [y, graph.ints(1, 1)]);
    y = graph.op('Pad', [y, graph.constant(tensor('int32', [2, 2], [0, 0, 0, 0]))]);
    y = { ...graph.op('IdentityN', [graph.floats([1]), y]), index: 1 };
    const z = graph.op('Reshape', [y, graph.ints(4, -1)]);

    const result = await optimized(graph.model({ y, z }), { x: floats([3, 4]) });

    expect(opsOf(result.nodes)).toEqual({ Placeholder: 1, Reshape: 1 });
    expect(result.signatures['serving_default']?.outputs['y']?.edge).toEqual({ node: 'x', index: 0 });
  });

  test('makes a Reshape to a computed shape one to a constant shape', async () => {
    const graph = new GraphBuilder();
    const x = graph.input('x', [-1, 2, 3, 4]);
    const batch = graph.op('StridedSlice', [graph.op('Shape', [x]), graph.ints(0), graph.ints(1), graph.ints(1)], {
      shrink_axis_mask: attribute.int(1),
    });
    const y = graph.op('Reshape', [x, graph.op('Pack', [batch, graph.int(24)])]);

    const result = await optimized(graph.model({ y }), { x: floats([2, 2, 3, 4]) });

    expect(opsOf(result.nodes)).toEqual({ Placeholder: 1, Reshape: 1 });
  });

  test('shares what is computed twice, outputs of both kept', async () => {
    const graph = new GraphBuilder();
    const x = graph.input('x', [-1, 4]);
    const halves = [1, 2].map(() => graph.op('Split', [graph.int(1), x], { num_split: attribute.int(2) }));
    const a = graph.op('AddV2', [{ ...halves[0]!, index: 1 }, graph.float(2)]);
    const b = graph.op('AddV2', [{ ...halves[1]!, index: 1 }, graph.float(2)]);
    const c = graph.op('AddV2', [halves[0]!, graph.float(2)]);

    const result = await optimized(graph.model({ a, b, c }), { x: floats([2, 4]) });

    expect(opsOf(result.nodes)).toEqual({ Placeholder: 1, Split: 1, AddV2: 2 });
    expect([...result.nodes.values()].filter(({ op }) => op === 'Const')).toHaveLength(2);
  });

  test('computes constants, and splits of large weights when they are read', async () => {
    const load = vi.fn(async () => floats([64, 512]));
    const graph = new GraphBuilder();
    const x = graph.input('x', [-1, 64]);
    const weights = graph.constant({ ...toConstant(floats([64, 512])), load });
    const parts = graph.op('Split', [graph.int(1), weights], { num_split: attribute.int(2) });
    const turned = graph.op('Transpose', [{ ...parts, index: 1 }, graph.ints(1, 0)]);
    const y = graph.op('MatMul', [x, turned], { ...matMul, transpose_b: attribute.bool(true) });
    const z = graph.op('MatMul', [x, parts], matMul);
    const half = graph.op('Mul', [graph.floats([3]), graph.op('Rsqrt', [graph.float(4)])]);
    const model = graph.model({ y, z, half });

    const result = await optimize(model);

    expect(opsOf(result.nodes)).toEqual({ Placeholder: 1, MatMul: 2 });
    expect(load).not.toHaveBeenCalled();
    const inputs = { x: floats([2, 64], 3) };
    expectClose(await runGraph(result, inputs), await runGraph(model, inputs));
  });

  test('does not fold what would make the model larger, or depend on the machine', async () => {
    const graph = new GraphBuilder();
    const filled = graph.op('Fill', [graph.ints(256, 256), graph.float(1)]);
    const tiled = graph.op('Tile', [graph.floats([1, 100]), graph.ints(100, 1)]);
    const power = graph.op('Exp', [graph.float(1)]);
    const drawn = graph.op('RandomUniform', [graph.ints(2)], { dtype: attribute.type('float32') });
    const custom = graph.op('MyCustomOp', [graph.float(1)]);
    const small = graph.op('Fill', [graph.ints(3), graph.float(2)]);

    const result = await optimize(graph.model({ filled, tiled, power, drawn, custom, small }));

    expect(opsOf(result.nodes)).toEqual({ Fill: 1, Tile: 1, Exp: 1, RandomUniform: 1, MyCustomOp: 1 });
  });

  test('keeps nodes that order control flow, and constants that wait for them', async () => {
    const graph = new GraphBuilder();
    const p = graph.input('p', [], 'bool');
    const choice = graph.op('Switch', [p, p]);
    graph.op('Identity', [{ ...choice, index: 1 }], {}, 'pivot');
    const gated = graph.constant(tensor('float32', [], [1]), 'gated');
    graph.nodes.set('gated', { ...graph.nodes.get('gated')!, controls: ['pivot'] });
    const plain = graph.constant(tensor('float32', [], [1]), 'plain');
    const sum = graph.op('AddV2', [gated, graph.float(2)]);

    const result = await optimize(graph.model({ sum, plain }));

    expect(opsOf(result.nodes)).toEqual({ Placeholder: 1, Switch: 1, Identity: 1, AddV2: 1 });
    expect(result.nodes.get('gated')?.controls).toEqual(['pivot']);
    expect(result.signatures['serving_default']?.outputs['plain']?.edge.node).not.toBe('gated');
  });

  test('works inside functions and drops those that nothing calls', async () => {
    const body = new GraphBuilder();
    const x = body.op('_Arg', [], { index: attribute.int(0), T: attribute.type('float32') }, 'x');
    const dense = body.op('BiasAdd', [body.op('MatMul', [body.op('Identity', [x]), body.floats([3, 3])], matMul), body.floats([3])]);
    const y = body.op('Identity', [body.op('Relu', [dense])]);
    const graph = new GraphBuilder();
    graph.functions.set('then', { inputs: ['x'], outputs: [y], nodes: body.nodes });
    graph.functions.set('unused', { inputs: ['x'], outputs: [y], nodes: body.nodes });
    const branches = { then_branch: { kind: 'function', value: 'then' }, else_branch: { kind: 'function', value: 'then' } } as const;
    const out = graph.op('StatelessIf', [graph.input('p', [], 'bool'), graph.input('x', [-1, 3])], branches);

    const result = await optimize(graph.model({ out }));

    expect([...result.functions.keys()]).toEqual(['then']);
    expect(opsOf(result.functions.get('then')!.nodes)).toEqual({ _Arg: 1, _FusedMatMul: 1 });
    expect(result.functions.get('then')?.outputs).toEqual([{ node: expect.stringContaining('Relu'), index: 0 }]);
  });
});

describe('rewrites', () => {
  test('are made without the other passes too', async () => {
    const graph = new GraphBuilder();
    const x = graph.input('x', [-1, 2]);
    const text = graph.input('text', [-1, 3], 'string');
    const tail = graph.op('Erfc', [graph.op('Identity', [x])]);
    const table = graph.op('HashTableV2', []);
    const found = graph.op('LookupTableFindV2', [table, text, graph.int(0)], { Tout: attribute.type('int32') });
    graph.op('Relu', [x], {}, 'dead');
    const fed = graph.op(
      'PlaceholderWithDefault',
      [graph.floats([2])],
      { dtype: attribute.type('float32'), shape: attribute.shape([2]) },
      'fed',
    );
    const rate = graph.op('PlaceholderWithDefault', [graph.float(0.5)], { dtype: attribute.type('float32'), shape: attribute.shape([]) });
    const model = graph.model({ tail, found, fed, rate });
    const signature = model.signatures['serving_default']!;
    const inputs = { ...signature.inputs, fed: { node: 'fed', dtype: 'float32', shape: [2] } as const };

    const result = await optimize({ ...model, signatures: { serving_default: { ...signature, inputs } } }, { passes: 'none' });

    expect(opsOf(result.nodes)).toEqual({
      Placeholder: 3,
      Identity: 2,
      Erf: 1,
      Sub: 1,
      HashTableV2: 1,
      LookupTableFindV2: 1,
      Shape: 1,
      Reshape: 1,
    });
    const again = await optimize(result, { passes: 'none' });
    expect(opsOf(again.nodes)).toEqual(opsOf(result.nodes));
    expect(opsOf((await optimize(result)).nodes)['Reshape']).toBe(1);
  });

  test('give what Erfc does', async () => {
    const graph = new GraphBuilder();
    const y = graph.op('Erfc', [graph.input('x', [-1])]);

    const result = await optimized(graph.model({ y }), { x: tensor('float32', [4], [-2, 0, 0.3, 2]) });

    expect(opsOf(result.nodes)).toEqual({ Placeholder: 1, Erf: 1, Sub: 1 });
  });
});

test('gives the same graph each time, and itself for an optimised graph', async () => {
  const build = () => {
    const graph = new GraphBuilder();
    const x = graph.input('x', [-1, 6, 6, 3]);
    const product = graph.op('Conv2D', [x, graph.floats([3, 3, 3, 4])], conv);
    const scaled = graph.op('Mul', [product, graph.op('Rsqrt', [graph.constant(positive([4], 5))])]);
    return graph.model({ y: graph.op('Relu', [graph.op('AddV2', [scaled, graph.floats([4])])]) });
  };
  const plain = async (model: ModelGraph) => {
    const nodes = await Promise.all(
      [...model.nodes.values()].map(async (node) => [
        { ...node, attributes: node.op === 'Const' ? {} : node.attributes },
        node.op === 'Const' ? await attribute.constantOf(node).load() : undefined,
      ]),
    );
    return { nodes, signatures: model.signatures };
  };

  const [first, second] = [await optimize(build()), await optimize(build())];

  expect(await plain(first)).toEqual(await plain(second));
  expect(await plain(await optimize(first))).toEqual(await plain(first));
});

test('takes graphs of many nodes, and long chains of derived weights, without a deep stack', async () => {
  const graph = new GraphBuilder();
  let x = graph.input('x', [-1, 200]);
  for (let i = 0; i < 10_000; i++) x = graph.op('Tanh', [graph.op('Identity', [x])]);
  const values = floats([200, 200]);
  let weights = graph.constant(values);
  for (let i = 0; i < 4_001; i++) weights = graph.op('Transpose', [weights, graph.ints(1, 0)]);

  const { nodes } = await optimize(graph.model({ x, weights: graph.op('Slice', [weights, graph.ints(0, 0), graph.ints(2, 2)]) }));

  expect(opsOf(nodes)).toEqual({ Placeholder: 1, Tanh: 10_000 });
  const [folded] = [...nodes.values()].filter(({ op }) => op === 'Const');
  const { data } = await attribute.constantOf(folded!).load();
  expect([...data]).toEqual([values.data[0], values.data[200], values.data[1], values.data[201]]);
});

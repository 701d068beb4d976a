import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, test } from 'vitest';
import { attribute, toConstant, withoutSignatures } from '../../../../src/core/formats/graph/index.ts';
import { checkTfjsOps, createTensor, readTfjsGraph, writeTfjsGraph } from '../../../../src/core/index.ts';
import { functionAttribute, GraphBuilder, modelGraph } from '../../../support/graph-builder.ts';
import { emittedFolder, readEmitted, runEmitted } from '../../../support/tfjs-graph-run.ts';

const float32 = { precision: 'float32' } as const;
const index = (edge: { node: string }, index: number) => ({ node: edge.node, index });

describe('a plain graph', () => {
  const dense = () => {
    const graph = new GraphBuilder();
    const x = graph.input('serving_default_x', 'float32', [-1, 2]);
    const product = graph.op('dense/MatMul', 'MatMul', [x, graph.floats('dense/kernel', [1, 2, 3, 4], [2, 2])], {
      transpose_a: attribute.bool(false),
      transpose_b: attribute.bool(true),
      _output_shapes: { kind: 'list', value: [] },
    });
    const sum = graph.op('dense/BiasAdd', 'BiasAdd', [product, graph.floats('dense/bias', [10, 20], [2])]);
    return modelGraph(graph, {
      serving_default: { inputs: ['serving_default_x'], outputs: { y: [sum, 'float32'], again: [sum, 'float32'] } },
    });
  };

  test('runs on the stock converter, with a node for each input and output', async () => {
    const emitted = await writeTfjsGraph(dense(), float32);

    const { y, again } = await runEmitted(emitted, 'serving_default', { serving_default_x: tf.tensor2d([[1, 1]]) });

    expect(y).toEqual({ shape: [1, 2], values: [13, 27] });
    expect(again).toEqual(y);
    expect(emitted.bindings).toEqual({
      serving_default: {
        inputs: { serving_default_x: { tensor: 'in/serving_default_x:0' } },
        outputs: { y: { tensor: 'out/y:0' }, again: { tensor: 'out/again:0' } },
      },
    });
    expect(emitted.ops).toEqual(['BiasAdd', 'Const', 'Identity', 'MatMul', 'Placeholder']);
    expect(emitted.files.get('weights.bin')).toMatchObject({
      byteLength: 24,
      tensors: [
        { start: 0, end: 16 },
        { start: 16, end: 24 },
      ],
    });
  });

  test('gives the same bytes whatever order the nodes came in', async () => {
    const model = dense();
    const turned = { ...model, nodes: new Map([...model.nodes].reverse()) };

    const [a, b] = await Promise.all([model, turned].map(async (one) => (await writeTfjsGraph(one, float32)).files));

    for (const name of ['model.json', 'weights.bin']) expect(await readEmitted(a!.get(name)!)).toEqual(await readEmitted(b!.get(name)!));
  });

  test('names that TensorFlow.js would misread are changed, each to one of its own', async () => {
    const graph = new GraphBuilder();
    const x = graph.input('x:1', 'float32', [2]);
    const a = graph.op('^odd', 'Neg', [x]);
    const b = graph.op('constructor', 'Neg', [a]);
    const c = graph.op('out/y', 'Neg', [b]);
    const model = modelGraph(graph, { serving_default: { inputs: ['x:1'], outputs: { y: [c, 'float32'], 'z:0': [a, 'float32'] } } });

    const { y, 'z:0': z } = await runEmitted(await writeTfjsGraph(model, float32), 'serving_default', { 'x:1': tf.tensor1d([1, 2]) });

    expect(y?.values).toEqual([-1, -2]);
    expect(z?.values).toEqual([-1, -2]);
  });

  test('two signatures share a placeholder and a weight', async () => {
    const graph = new GraphBuilder();
    const x = graph.input('x', 'float32', [-1]);
    const weight = toConstant(createTensor('float32', [], Float32Array.of(3)));
    const constants = ['w1', 'w2'].map((name) =>
      graph.op(name, 'Const', [], { dtype: attribute.type('float32'), value: attribute.tensor(weight) }),
    );
    const outputs = [graph.op('mul', 'Mul', [x, constants[0]!]), graph.op('add', 'AddV2', [x, constants[1]!])];
    const model = modelGraph(graph, {
      a: { inputs: ['x'], outputs: { y: [outputs[0]!, 'float32'] } },
      b: { inputs: ['x'], outputs: { y: [outputs[1]!, 'float32'] } },
    });

    const emitted = await writeTfjsGraph(model, float32);

    expect(emitted.files.get('weights.bin')?.byteLength).toBe(4);
    expect(emitted.bindings['b']).toEqual({ inputs: { x: { tensor: 'a/in/x:0' } }, outputs: { y: { tensor: 'b/out/y:0' } } });
    expect((await runEmitted(emitted, 'a', { x: tf.tensor1d([2]) }))['y']?.values).toEqual([6]);
    expect((await runEmitted(emitted, 'b', { x: tf.tensor1d([2]) }))['y']?.values).toEqual([5]);
  });
});

describe('types', () => {
  test('int64, float64 and the small types become those of TensorFlow.js, and it is noted', async () => {
    const graph = new GraphBuilder();
    const x = graph.input('x', 'int64', [-1]);
    const limit = graph.constant('limit', createTensor('int64', [1], BigInt64Array.of(2n ** 63n - 1n)));
    const ends = ['begin', 'strides'].map((name, index) =>
      graph.constant(name, createTensor('int64', [1], BigInt64Array.of(BigInt(1 * index + (index ? 0 : 1))))),
    );
    const tail = graph.op('tail', 'StridedSlice', [x, ends[0]!, limit, ends[1]!], {
      T: attribute.type('int64'),
      begin_mask: attribute.int(0),
      end_mask: attribute.int(0),
      ellipsis_mask: attribute.int(0),
      new_axis_mask: attribute.int(0),
      shrink_axis_mask: attribute.int(0),
    });
    const cast = graph.op('cast', 'Cast', [tail], { SrcT: attribute.type('int64'), DstT: attribute.type('float64') });
    const half = graph.constant('half', createTensor('float64', [], Float64Array.of(0.5)));
    const y = graph.op('y', 'Mul', [cast, half], { T: attribute.type('float64') });
    const small = graph.op('small', 'AddV2', [tail, graph.constant('byte', createTensor('uint8', [], Uint8Array.of(200)))]);
    const model = modelGraph(graph, { serving_default: { inputs: ['x'], outputs: { y: [y, 'float64'], small: [small, 'int64'] } } });

    const emitted = await writeTfjsGraph(model, float32);
    const results = await runEmitted(emitted, 'serving_default', { x: tf.tensor1d([1, 2, 3], 'int32') });

    expect(results['y']).toEqual({ shape: [2], values: [1, 1.5] });
    expect(results['small']?.values).toEqual([202, 203]);
    expect(emitted.notes).toEqual([
      expect.stringMatching(/^float64 becomes float32 \(\d nodes, first/),
      expect.stringMatching(/^int64 becomes int32/),
    ]);
    const { signature } = JSON.parse(new TextDecoder().decode(await readEmitted(emitted.files.get('model.json')!)));
    expect(signature.inputs.x.dtype).toBe('DT_INT64');
  });

  test('a whole number beyond int32 that is no slice limit is refused by name', async () => {
    const graph = new GraphBuilder();
    const x = graph.input('x', 'int64', [-1]);
    const y = graph.op('y', 'AddV2', [x, graph.constant('seed', createTensor('int64', [], BigInt64Array.of(2n ** 40n)))]);
    const model = modelGraph(graph, { serving_default: { inputs: ['x'], outputs: { y: [y, 'int64'] } } });

    await expect(writeTfjsGraph(model, float32)).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('constant seed holds 1099511627776'),
    });
  });

  test('an operator that reads text or bytes still knows what types are written there', async () => {
    const graph = new GraphBuilder();
    const bytes = graph.op('decode', 'DecodeRaw', [graph.input('x', 'string', [-1])], { out_type: attribute.type('int16') });
    const y = graph.op('y', 'Cast', [bytes], { SrcT: attribute.type('int16'), DstT: attribute.type('float64') });
    const model = modelGraph(graph, { serving_default: { inputs: ['x'], outputs: { y: [y, 'float64'] } } });

    const emitted = await writeTfjsGraph(model, float32);

    const { modelTopology, userDefinedMetadata } = JSON.parse(
      new TextDecoder().decode(await readEmitted(emitted.files.get('model.json')!)),
    );
    const nodes: { name: string; attr: object }[] = modelTopology.node;
    expect(nodes.find(({ name }) => name === 'decode')?.attr).toEqual({ out_type: { type: 'DT_INT16' } });
    expect(nodes.find(({ name }) => name === 'y')?.attr).toEqual({ SrcT: { type: 'DT_INT32' }, DstT: { type: 'DT_FLOAT' } });
    expect(userDefinedMetadata.nearfar.customOps).toEqual(['DecodeRaw']);
    const again = await readTfjsGraph(await emittedFolder(emitted));
    expect(again.nodes.get('decode')?.attributes['out_type']).toEqual(attribute.type('int16'));
  });

  test('strings, booleans and complex numbers keep their values', async () => {
    const graph = new GraphBuilder();
    const text = new TextEncoder();
    const strings = graph.constant('s', createTensor('string', [2], [text.encode('größe'), text.encode('')]));
    const bools = graph.constant('b', createTensor('bool', [2], Uint8Array.of(1, 0)));
    const complex = graph.op('re', 'Imag', [graph.constant('c', createTensor('complex64', [2], Float32Array.of(1, 2, 3, 4)))]);
    const model = modelGraph(graph, {
      serving_default: { inputs: [], outputs: { s: [strings, 'string'], b: [bools, 'bool'], c: [complex, 'float32'] } },
    });

    const results = await runEmitted(await writeTfjsGraph(model, float32), 'serving_default', {});

    expect(results).toEqual({
      s: { shape: [2], values: ['größe', ''] },
      b: { shape: [2], values: [1, 0] },
      c: { shape: [2], values: [2, 4] },
    });
  });
});

test('a table keeps its content and gives what it finds the shape of the keys', async () => {
  const graph = new GraphBuilder();
  const x = graph.input('words', 'string', [-1, -1]);
  const text = new TextEncoder();
  const table = graph.op('table', 'HashTableV2', [], {
    key_dtype: attribute.type('string'),
    value_dtype: attribute.type('int64'),
    keys: attribute.tensor(toConstant(createTensor('string', [2], [text.encode('near'), text.encode('far')]))),
    values: attribute.tensor(toConstant(createTensor('int64', [2], BigInt64Array.of(7n, 9n)))),
  });
  const unknown = graph.constant('unknown', createTensor('int64', [], BigInt64Array.of(-1n)));
  const found = graph.op('find', 'LookupTableFindV2', [table, x, unknown], {
    Tin: attribute.type('string'),
    Tout: attribute.type('int64'),
  });
  const model = modelGraph(graph, { serving_default: { inputs: ['words'], outputs: { ids: [found, 'int64'] } } });

  const emitted = await writeTfjsGraph(model, float32);
  const { ids } = await runEmitted(emitted, 'serving_default', {
    words: tf.tensor2d(
      [
        ['far', 'away'],
        ['near', 'far'],
      ],
      [2, 2],
      'string',
    ),
  });

  expect(ids).toEqual({ shape: [2, 2], values: [9, -1, 7, 9] });
  expect(emitted.ops).toContain('LookupTableImportV2');
});

test('Erfc is written with Erf', async () => {
  const graph = new GraphBuilder();
  const y = graph.op('y', 'Erfc', [graph.input('x', 'float32', [-1])], { T: attribute.type('float32') });
  const model = modelGraph(graph, { serving_default: { inputs: ['x'], outputs: { y: [y, 'float32'] } } });

  const { y: result } = await runEmitted(await writeTfjsGraph(model, float32), 'serving_default', { x: tf.tensor1d([0, 1, -1]) });

  // 1 - erf(1) from Abramowitz and Stegun, table 7.1.
  for (const [place, want] of [1, 0.1572992, 1.8427008].entries()) expect(result?.values[place]).toBeCloseTo(want, 5);
});

describe('what TensorFlow.js cannot run', () => {
  const model = () => {
    const graph = new GraphBuilder();
    const x = graph.input('x', 'float32', [-1]);
    const good = graph.op('good', 'Neg', [x]);
    const bad = graph.op('b', 'Betainc', [graph.op('a', 'Betainc', [x]), x]);
    const topk = graph.op('norm', 'FusedBatchNormV3', [x, x, x, x, x], {
      is_training: attribute.bool(true),
      data_format: attribute.string('NCHW'),
    });
    const body = new GraphBuilder();
    const inner = body.op('lgamma', 'Lgamma', [body.arg(0)]);
    const same = new GraphBuilder();
    const chosen = graph.op('if', 'StatelessIf', [x, x], {
      then_branch: functionAttribute('when_true'),
      else_branch: functionAttribute('when_false'),
    });
    return modelGraph(
      graph,
      {
        bad: { inputs: ['x'], outputs: { y: [bad, 'float32'], z: [index(topk, 3), 'float32'], w: [chosen, 'float32'] } },
        good: { inputs: ['x'], outputs: { y: [good, 'float32'] } },
      },
      { when_true: body.function(1, [inner]), when_false: same.function(1, [same.arg(0)]) },
    );
  };

  test('is told by signature, all at once', async () => {
    const problems = await checkTfjsOps(model());

    expect(problems).toEqual({
      bad: [
        'operator Betainc (2 nodes, first a) has no implementation in TensorFlow.js',
        'operator Lgamma (1 node, first if/then/lgamma) has no implementation in TensorFlow.js',
        'operator FusedBatchNormV3 (node norm) with channels first (NCHW) is not computed',
        'operator FusedBatchNormV3 (node norm) gives no output 3 in TensorFlow.js, Identity out/z reads it',
      ],
    });
    await expect(writeTfjsGraph(model(), float32)).rejects.toMatchObject({ code: 'unsupported', details: { problems: { length: 4 } } });
  });

  test('does not keep the other signatures from being written', async () => {
    const all = model();
    const rest = withoutSignatures(all, await checkTfjsOps(all));

    const emitted = await writeTfjsGraph(rest, float32);

    expect((await runEmitted(emitted, 'good', { x: tf.tensor1d([1]) }))['y']?.values).toEqual([-1]);
    expect(rest.unusable['bad']).toHaveLength(4);
    expect(rest.functions.size).toBe(0);
    await expect(writeTfjsGraph(withoutSignatures(rest, { good: ['unwanted'] }), float32)).rejects.toMatchObject({
      code: 'failed-precondition',
    });
  });
});

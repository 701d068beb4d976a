import { describe, expect, test } from 'vitest';
import {
  attribute,
  type Constant,
  constNode,
  type GraphNode,
  type ModelGraph,
  toConstant,
} from '../../../../src/core/formats/graph/index.ts';
import { type AnyTensor, checkOnnxOps, createTensor, parseOnnxModel, writeOnnx } from '../../../../src/core/index.ts';
import { bytesOf, runOnnx } from '../../../support/onnx-graphs.ts';

const { float, ints, string, strings, type } = attribute;
const float32 = type('float32');

function node(name: string, op: string, inputs: readonly string[], attributes: GraphNode['attributes'] = {}): GraphNode {
  return {
    name,
    op,
    inputs: inputs.map((input) => ({ node: input.split(':')[0]!, index: Number(input.split(':')[1] ?? 0) })),
    controls: [],
    attributes: { T: float32, ...attributes },
  };
}

function placeholder(name: string, shape: readonly number[]): GraphNode {
  return node(name, 'Placeholder', [], { dtype: float32, shape: attribute.shape(shape) });
}

function vector(values: readonly number[], shape: readonly number[] = [values.length]): Constant {
  return toConstant(createTensor('float32', shape, Float32Array.from(values)) as AnyTensor);
}

interface SignatureOf {
  readonly inputs: Readonly<Record<string, readonly [node: string, shape: readonly number[]]>>;
  readonly outputs: Readonly<Record<string, string>>;
}

function graph(nodes: readonly GraphNode[], signatures: Readonly<Record<string, SignatureOf>>): ModelGraph {
  return {
    nodes: new Map(nodes.map((each) => [each.name, each])),
    functions: new Map(),
    signatures: Object.fromEntries(
      Object.entries(signatures).map(([name, { inputs, outputs }]) => [
        name,
        {
          method: 'predict' as const,
          inputs: Object.fromEntries(
            Object.entries(inputs).map(([key, [from, shape]]) => [key, { node: from, dtype: 'float32' as const, shape }]),
          ),
          outputs: Object.fromEntries(
            Object.entries(outputs).map(([key, from]) => [
              key,
              { edge: { node: from, index: 0 }, dtype: 'float32' as const, shape: undefined },
            ]),
          ),
        },
      ]),
    ),
    unusable: {},
  };
}

const x = createTensor('float32', [2, 3], Float32Array.of(1, -2, 3, -4, 5, -6));
const doubled = [placeholder('x', [-1, 3]), node('double', 'AddV2', ['x', 'x'])];

describe('what cannot be written', () => {
  const model = graph(
    [
      placeholder('x', [-1, 3]),
      node('noise', 'RandomUniform', ['x']),
      node('twice', 'AddV2', ['noise', 'noise']),
      node('hash', 'StringToHashBucketFast', ['x']),
      node('sum', 'AddV2', ['twice', 'hash']),
      node('bands', 'MatrixBandPart', ['x', 'x', 'x']),
      node('all', 'AddV2', ['sum', 'bands']),
    ],
    { serving_default: { inputs: { x: ['x', [-1, 3]] }, outputs: { y: 'all' } } },
  );

  test('is listed whole, by operator and node', async () => {
    const problems = await checkOnnxOps(model);

    expect(problems.map(({ op, node }) => `${op} ${node}`).sort()).toEqual([
      'MatrixBandPart bands',
      'RandomUniform noise',
      'StringToHashBucketFast hash',
    ]);
    await expect(writeOnnx(model, { precision: 'float32' })).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringMatching(
        /RandomUniform "noise".*StringToHashBucketFast "hash"|StringToHashBucketFast "hash".*RandomUniform "noise"/,
      ),
      details: { format: 'onnx', problems },
    });
    expect(await checkOnnxOps(graph(doubled, { f: { inputs: { x: ['x', [-1, 3]] }, outputs: { y: 'double' } } }))).toEqual([]);
  });

  test('weights of 2 GiB are refused, and not read', async () => {
    const huge: Constant = {
      dtype: 'float32',
      shape: [2 ** 15, 2 ** 14],
      byteLength: 2 ** 31,
      load: () => Promise.reject(new Error('was read')),
    };
    const big = graph([placeholder('x', [-1, 2 ** 15]), constNode('w', huge), node('y', 'MatMul', ['x', 'w'])], {
      f: { inputs: { x: ['x', [-1, 2 ** 15]] }, outputs: { y: 'y' } },
    });

    await expect(writeOnnx(big, { precision: 'float32' })).rejects.toMatchObject({ code: 'unsupported' });
    expect((await writeOnnx(big, { precision: 'float16' })).files.get('model.onnx')!.byteLength).toBeGreaterThan(2 ** 30);
  });
});

describe('signatures', () => {
  test('share a file when they have the same inputs, and an output when it is the same', async () => {
    const nodes = [...doubled, placeholder('z', [-1, 3]), node('double_2', 'AddV2', ['z', 'z']), node('square', 'Square', ['z'])];
    const model = graph(nodes, {
      a: { inputs: { x: ['x', [-1, 3]] }, outputs: { y: 'double' } },
      b: { inputs: { x: ['z', [-1, 3]] }, outputs: { y: 'double_2', z: 'square' } },
      c: { inputs: { x: ['z', [-1, 3]] }, outputs: { y: 'square' } },
    });

    const emitted = await writeOnnx(model, { precision: 'float32' });

    expect(emitted.bindings).toEqual({
      a: { inputs: { x: { tensor: 'x' } }, outputs: { y: { tensor: 'y' } } },
      b: { inputs: { x: { tensor: 'x' } }, outputs: { y: { tensor: 'y' }, z: { tensor: 'z' } } },
      c: { inputs: { x: { tensor: 'x' } }, outputs: { y: { tensor: 'c/y' } } },
    });
    expect(
      parseOnnxModel(await bytesOf(emitted))
        .operators.map(({ op }) => op)
        .sort(),
    ).toEqual(['Add', 'Identity', 'Mul']);
    const { y } = await runOnnx(emitted, { x }, { y: 'float32' });
    expect(Array.from(y!.data as Float32Array)).toEqual([2, -4, 6, -8, 10, -12]);
  });

  test('with different inputs are refused together', async () => {
    const model = graph([...doubled, placeholder('z', [-1, 4]), node('square', 'Square', ['z'])], {
      a: { inputs: { x: ['x', [-1, 3]] }, outputs: { y: 'double' } },
      b: { inputs: { x: ['z', [-1, 4]] }, outputs: { y: 'square' } },
    });

    await expect(writeOnnx(model, { precision: 'float32' })).rejects.toMatchObject({
      code: 'unsupported',
      details: { signatures: ['a', 'b'] },
    });
  });

  test('do not mind what others need', async () => {
    const model = graph([...doubled, node('noise', 'RandomUniform', ['x'])], {
      good: { inputs: { x: ['x', [-1, 3]] }, outputs: { y: 'double' } },
      bad: { inputs: { x: ['x', [-1, 3]] }, outputs: { y: 'noise' } },
    });
    const { good } = model.signatures;

    expect(await checkOnnxOps(model)).toHaveLength(1);
    expect(await checkOnnxOps({ ...model, signatures: { good: good! } })).toEqual([]);
  });

  test('may give an input or a weight back, under names that nodes have too', async () => {
    const model = graph([placeholder('x', [-1, 3]), constNode('y', vector([7, 8])), node('w', 'Neg', ['x'])], {
      f: { inputs: { x: ['x', [-1, 3]] }, outputs: { same: 'x', w: 'y', c: 'w' } },
    });

    const answer = await runOnnx(await writeOnnx(model, { precision: 'float32' }), { x }, { same: 'float32', w: 'float32', c: 'float32' });

    expect(Array.from(answer['same']!.data as Float32Array)).toEqual([1, -2, 3, -4, 5, -6]);
    expect(Array.from(answer['w']!.data as Float32Array)).toEqual([7, 8]);
    expect(Array.from(answer['c']!.data as Float32Array)).toEqual([-1, 2, -3, 4, -5, 6]);
  });
});

describe('fused layers', () => {
  const image = createTensor('float32', [1, 2, 2, 2], Float32Array.of(1, 2, -3, 4, 5, -6, 7, 8));
  const filter = constNode('filter', vector([1, 0, 0, -1], [1, 1, 2, 2]));
  const bias = constNode('bias', vector([0.5, -1]));
  const window = { strides: ints([1, 1, 1, 1]), padding: string('SAME'), data_format: string('NHWC') };

  async function run(op: string, fused: readonly string[], more: readonly GraphNode[] = []): Promise<number[]> {
    const inputs = ['x', 'filter', 'bias', ...more.map(({ name }) => name)];
    const layer = node('layer', op, inputs, { ...window, fused_ops: strings(fused), leakyrelu_alpha: float(0.5) });
    const model = graph([placeholder('x', [-1, 2, 2, 2]), filter, bias, ...more, layer], {
      f: { inputs: { x: ['x', [-1, 2, 2, 2]] }, outputs: { y: 'layer' } },
    });
    const { y } = await runOnnx(await writeOnnx(model, { precision: 'float32' }), { x: image }, { y: 'float32' });
    return Array.from(y!.data as Float32Array);
  }

  test('add the bias before the activation', async () => {
    const sums = [1.5, -3, -2.5, -5, 5.5, 5, 7.5, -9];

    expect(await run('_FusedConv2D', ['BiasAdd'])).toEqual(sums);
    expect(await run('_FusedConv2D', ['BiasAdd', 'Relu6'])).toEqual(sums.map((sum) => Math.min(6, Math.max(0, sum))));
    expect(await run('_FusedConv2D', ['BiasAdd', 'LeakyRelu'])).toEqual(sums.map((sum) => (sum < 0 ? sum / 2 : sum)));
  });

  test('add what else they are given', async () => {
    const more = constNode('more', vector([1, 1, 1, 1, 1, 1, 1, 1], [1, 2, 2, 2]));

    expect(await run('_FusedConv2D', ['BiasAdd', 'Add', 'Relu'], [more])).toEqual([2.5, 0, 0, 0, 6.5, 6, 8.5, 0]);
  });

  test('with an unknown part are refused', async () => {
    await expect(run('_FusedConv2D', ['BiasAdd', 'Mystery'])).rejects.toMatchObject({ code: 'unsupported' });
  });

  test('multiply matrices', async () => {
    const layer = (fused: readonly string[]) =>
      graph(
        [
          placeholder('x', [-1, 3]),
          constNode('w', vector([1, 2, 3, 4, 5, 6], [2, 3])),
          constNode('b', vector([1, -40])),
          node('layer', '_FusedMatMul', ['x', 'w', 'b'], { fused_ops: strings(fused), transpose_b: attribute.bool(true) }),
        ],
        { f: { inputs: { x: ['x', [-1, 3]] }, outputs: { y: 'layer' } } },
      );

    const { y } = await runOnnx(await writeOnnx(layer(['BiasAdd', 'Relu']), { precision: 'float32' }), { x }, { y: 'float32' });

    expect(y!.shape).toEqual([2, 2]);
    expect(Array.from(y!.data as Float32Array)).toEqual([7, 0, 0, 0]);
  });
});

describe('the file', () => {
  const weights = vector(
    Array.from({ length: 3 * 400 }, (_, index) => Math.sin(index)),
    [3, 400],
  );
  const model = graph([placeholder('x', [-1, 3]), constNode('w', weights), node('y', 'MatMul', ['x', 'w'])], {
    f: { inputs: { x: ['x', [-1, 3]] }, outputs: { y: 'y' } },
  });

  test.each(['float32', 'float16', 'uint8'] as const)('says where its %s weights lie, and is the same each time', async (precision) => {
    const emitted = await writeOnnx(model, { precision });
    const bytes = await bytesOf(emitted);
    const { byteLength, tensors } = emitted.files.get('model.onnx')!;

    const { initializers, inputs, outputs, opsets } = parseOnnxModel(bytes);
    expect(bytes.byteLength).toBe(byteLength);
    expect(initializers.map(({ start, end }) => ({ start, end }))).toEqual(tensors);
    expect(inputs).toEqual({ x: { tensor: 'x', dtype: 'float32', shape: [-1, 3] } });
    expect(outputs).toEqual({ y: { tensor: 'y', dtype: 'float32', shape: [-1, 400] } });
    expect(opsets).toEqual({ 'ai.onnx': 18 });
    expect(Buffer.compare(await bytesOf(await writeOnnx(model, { precision })), bytes)).toBe(0);
    expect(emitted.ops).toEqual(parseOnnxModel(bytes).ops);
  });

  test('uint8 weights are within half a step of their column', async () => {
    const emitted = await writeOnnx(model, { precision: 'uint8' });

    const one = createTensor('float32', [1, 3], Float32Array.of(0, 1, 0));
    const { y } = await runOnnx(emitted, { x: one }, { y: 'float32' });
    const want = Array.from({ length: 400 }, (_, column) => Math.sin(400 + column));
    // A column has three weights, at most 2 apart.
    expect(Math.max(...want.map((value, column) => Math.abs(value - Number(y!.data[column]))))).toBeLessThan(0.51 * (2 / 255));
  });
});

import { createTensor, encodeSafetensors, type Manifest } from '../../src/core/index.ts';
import { createSmallRepository, type SmallRepository } from './small-repository.ts';

/** Columns in and out. */
export const denseWidth = 8;

/**
 * A repository of one real TensorFlow.js graph, `y = relu(x w + b)` over rows of 8, with a golden example of one row.
 * @param options.mixesRows Whether half the mean of all rows is taken off each: one row alone then gives another answer than among others.
 */
export async function createDenseRepository({ name = 'dense', mixesRows = false } = {}): Promise<SmallRepository> {
  const weights = new Float32Array(denseWidth * denseWidth + denseWidth);
  for (let index = 0; index < weights.length; index++) weights[index] = Math.sin(index + 1);
  const float = { type: 'DT_FLOAT' };
  const nodes = [
    { name: 'x', op: 'Placeholder', attr: { dtype: float, shape: { shape: { dim: [{ size: '-1' }, { size: String(denseWidth) }] } } } },
    { name: 'w', op: 'Const', attr: { dtype: float } },
    { name: 'b', op: 'Const', attr: { dtype: float } },
    { name: 'product', op: 'MatMul', input: ['x', 'w'], attr: { T: float, transpose_a: { b: false }, transpose_b: { b: false } } },
    { name: 'sum', op: 'AddV2', input: ['product', 'b'], attr: { T: float } },
    { name: 'relu', op: 'Relu', input: ['sum'], attr: { T: float } },
    { name: 'rows', op: 'Const', attr: { dtype: { type: 'DT_INT32' } } },
    { name: 'mean', op: 'Mean', input: ['relu', 'rows'], attr: { T: float, keep_dims: { b: true } } },
    { name: 'half', op: 'Const', attr: { dtype: float } },
    { name: 'part', op: 'Mul', input: ['mean', 'half'], attr: { T: float } },
    { name: 'y', op: mixesRows ? 'Sub' : 'Identity', input: mixesRows ? ['relu', 'part'] : ['relu'], attr: { T: float } },
  ];
  const model = {
    format: 'graph-model',
    modelTopology: { node: nodes, library: {}, versions: { producer: 1, minConsumer: 0 } },
    weightsManifest: [
      {
        paths: ['weights.bin'],
        weights: [
          { name: 'w', shape: [denseWidth, denseWidth], dtype: 'float32' },
          { name: 'b', shape: [denseWidth], dtype: 'float32' },
          { name: 'half', shape: [], dtype: 'float32' },
          { name: 'rows', shape: [1], dtype: 'int32' },
        ],
      },
    ],
  };
  const bytes = new Uint8Array(weights.byteLength + 8);
  bytes.set(new Uint8Array(weights.buffer));
  bytes.set(new Uint8Array(Float32Array.of(0.5).buffer), weights.byteLength);
  const row = Float32Array.from({ length: denseWidth }, (_, column) => column / 4 - 1);
  const x = createTensor('float32', [1, denseWidth], row);
  const y = createTensor('float32', [1, denseWidth], denseRow(row, weights, mixesRows ? 0.5 : 1));
  const files = {
    'model.json': new TextEncoder().encode(JSON.stringify(model)),
    'weights.bin': bytes,
    'golden/0.in.safetensors': encodeSafetensors({ x }),
    'golden/0.out.safetensors': encodeSafetensors({ y }),
  };
  const shape = [-1, denseWidth];
  const describe = (manifest: Manifest): Manifest => ({
    ...manifest,
    signatures: {
      serving_default: { method: 'predict', inputs: { x: { dtype: 'float32', shape } }, outputs: { y: { dtype: 'float32', shape } } },
    },
    variants: [
      {
        id: 'tfjs-float32',
        format: 'tfjs-graph',
        precision: 'float32',
        entry: 'model.json',
        files: ['model.json', 'weights.bin'],
        requires: [],
        tolerance: { absolute: 1e-4, relative: 1e-3 },
      },
    ],
    golden: [{ signature: 'serving_default', inputs: 'golden/0.in.safetensors', outputs: 'golden/0.out.safetensors' }],
  });
  return createSmallRepository([{ version: '1', chunkBytes: 1 << 20, files }], { name, describe });
}

function denseRow(row: Float32Array, weights: Float32Array, share: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: denseWidth }, (_, to) => {
    const sum = row.reduce(
      (total, value, from) => total + value * weights[from * denseWidth + to]!,
      weights[denseWidth * denseWidth + to]!,
    );
    return Math.max(0, sum) * share;
  });
}

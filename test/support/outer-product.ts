import type { VariantSource } from '../../src/core/index.ts';
import { graphSource, node, placeholder, type, weight } from './graph-models.ts';
import { initializer, onnxModel, node as onnxNode, valueInfo } from './onnx-writer.ts';
import { tinyOnnx } from './tiny-models.ts';

/** Minus the sum of all products of two elements of a vector, by way of two matrices: n elements need 8 n² bytes. */
export function outerProduct(): VariantSource {
  const float = type('float32');
  const reshape = { T: float, Tshape: type('int32') };
  return graphSource({
    nodes: [
      placeholder('x', 'float32', [-1]),
      node('column', 'Reshape', ['x', 'tall'], reshape),
      node('row', 'Reshape', ['x', 'wide'], reshape),
      node('matrix', 'Mul', ['column', 'row'], { T: float }),
      node('negative', 'Neg', ['matrix'], { T: float }),
      node('y', 'Sum', ['negative', 'axes'], { T: float, Tidx: type('int32') }),
    ],
    weights: [weight('tall', 'int32', [2], [-1, 1]), weight('wide', 'int32', [2], [1, -1]), weight('axes', 'int32', [2], [0, 1])],
    signatures: { serving_default: { inputs: { x: 'float32' }, outputs: { y: 'float32' } } },
  });
}

/** The same as ONNX; its answer is a vector of one. */
export function outerProductOnnx(): VariantSource {
  const ints = (values: readonly number[]) => new Uint8Array(BigInt64Array.from(values.map(BigInt)).buffer);
  const model = onnxModel([
    [1, onnxNode('Reshape', ['x', 'tall'], ['column'])],
    [1, onnxNode('Reshape', ['x', 'wide'], ['row'])],
    [1, onnxNode('Mul', ['column', 'row'], ['matrix'])],
    [1, onnxNode('Neg', ['matrix'], ['negative'])],
    [1, onnxNode('ReduceSum', ['negative'], ['sum'])],
    [1, onnxNode('Reshape', ['sum', 'one'], ['y'])],
    [5, initializer('tall', 7, [2], ints([-1, 1]))],
    [5, initializer('wide', 7, [2], ints([1, -1]))],
    [5, initializer('one', 7, [1], ints([1]))],
    [11, valueInfo('x', 1, ['n0'])],
    [12, valueInfo('y', 1, ['n1'])],
  ]);
  return { ...tinyOnnx('float32'), readFile: async () => model };
}

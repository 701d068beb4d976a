import type { VariantSource } from '../../src/core/index.ts';
import { bool, float, graphSource, int, node, placeholder, text, type, weight } from './graph-models.ts';

const vocabulary = ['the', 'cat', 'dog'];
const embedding = [
  [0, 0],
  [0.5, -1],
  [1, 2],
  [-3, 0.25],
  [2, 2],
] as const;

/** What TextVectorization, Embedding, a mean and a Dense layer make: four tokens a row, 0 fills up, 1 is unknown. */
export function textClassifier(): { source: VariantSource; expected: readonly number[] } {
  const slice = { begin_mask: int(0), end_mask: int(0), ellipsis_mask: int(0), new_axis_mask: int(0), shrink_axis_mask: int(0) };
  const source = graphSource({
    nodes: [
      placeholder('text', 'string'),
      node('lower', 'StringLower', ['text'], { encoding: text('') }),
      node('clean', 'StaticRegexReplace', ['lower'], { pattern: text('[^a-z ]'), rewrite: text(''), replace_global: bool(true) }),
      node('split', 'StringSplitV2', ['clean', 'separator'], { maxsplit: int(-1) }),
      node('table', 'HashTableV2', [], { key_dtype: type('string'), value_dtype: type('int64') }),
      node('found', 'LookupTableFindV2', ['table', 'split:1', 'unknown'], { Tin: type('string'), Tout: type('int64') }),
      node('batch', 'StridedSlice', ['split:2', 'from0', 'from1', 'step'], { T: type('int64'), Index: type('int32'), ...slice }),
      node('shape', 'ConcatV2', ['batch', 'width', 'axis0'], { T: type('int32'), N: int(2), Tidx: type('int32') }),
      node('tokens', 'SparseToDense', ['split', 'shape', 'found', 'zero'], { T: type('int32'), Tindices: type('int64') }),
      node('vectors', 'GatherV2', ['embedding', 'tokens', 'axis0'], {
        Tparams: type('float32'),
        Tindices: type('int64'),
        Taxis: type('int32'),
      }),
      node('mean', 'Mean', ['vectors', 'axis1'], { T: type('float32'), Tidx: type('int32'), keep_dims: bool(false) }),
      node('scores', '_FusedMatMul', ['mean', 'kernel', 'bias'], {
        T: type('float32'),
        transpose_a: bool(false),
        transpose_b: bool(false),
        num_args: int(1),
        epsilon: float(0),
        fused_ops: { list: { s: [btoa('BiasAdd')] } },
      }),
    ],
    weights: [
      weight('separator', 'string', [], ['']),
      weight('unknown', 'int32', [], [1]),
      weight('zero', 'int32', [], [0]),
      weight('from0', 'int32', [1], [0]),
      weight('from1', 'int32', [1], [1]),
      weight('step', 'int32', [1], [1]),
      weight('width', 'int32', [1], [4]),
      weight('axis0', 'int32', [], [0]),
      weight('axis1', 'int32', [], [1]),
      weight('embedding', 'float32', [5, 2], embedding.flat()),
      weight('kernel', 'float32', [2, 2], [1, 2, 3, -1]),
      weight('bias', 'float32', [2], [0.5, 0]),
      weight('keys', 'string', [3], vocabulary),
      weight('values', 'int32', [3], [2, 3, 4]),
    ],
    initializer: [
      node('table', 'HashTableV2', [], { key_dtype: type('string'), value_dtype: type('int64') }),
      node('keys', 'Const', [], { dtype: type('string') }),
      node('values', 'Const', [], { dtype: type('int64') }),
      node('import', 'LookupTableImportV2', ['table', 'keys', 'values'], { Tin: type('string'), Tout: type('int64') }),
    ],
    signatures: { serving_default: { inputs: { text: 'string' }, outputs: { scores: 'float32', tokens: 'int64', clean: 'string' } } },
  });
  // mean of the four rows, times the kernel, plus the bias
  const expected = [
    [2, 3, 2, 4],
    [1, 0, 0, 0],
    [0, 0, 0, 0],
  ].flatMap((tokens) => {
    const [a, b] = [0, 1].map((column) => tokens.reduce((sum, token) => sum + embedding[token]![column]!, 0) / 4) as [number, number];
    return [a + 3 * b + 0.5, 2 * a - b];
  });
  return { source, expected };
}

import { attribute, type GraphDType, type GraphNode, type PartialShape } from '../../graph/index.ts';
import { broadcastShapes } from '../dimensions/index.ts';
import { type Known, type Rule, type Rules, rulesOf, unknown } from './known.ts';

const handle: Rule = () => [{ dtype: 'resource', shape: [] }];
const list: Rule = () => [{ dtype: 'variant', shape: [] }];
const flow: Rule = () => [{ dtype: 'float32', shape: [] }];

/** Text, tables, examples, lists and random numbers. */
export const otherRules: Rules = {
  ...rulesOf('HashTable HashTableV2 MutableHashTableV2', handle),
  ...rulesOf('LookupTableFind LookupTableFindV2', (node, inputs) => [
    { dtype: attribute.typeOf(node, 'Tout', inputs.at(2).dtype), shape: inputs.shape(1) },
  ]),
  ...rulesOf('LookupTableSize LookupTableSizeV2', () => [{ dtype: 'int64', shape: [] }]),
  ...rulesOf('StringLower StringUpper StringStrip StaticRegexReplace RegexReplace AsString DecodeBase64 EncodeBase64', (_, inputs) => [
    { dtype: 'string', shape: inputs.shape(0) },
  ]),
  ...rulesOf('StaticRegexFullMatch RegexFullMatch', (_, inputs) => [{ dtype: 'bool', shape: inputs.shape(0) }]),
  StringJoin: (_, inputs) => [{ dtype: 'string', shape: inputs.all.map(({ shape }) => shape).reduce(broadcastShapes, []) }],
  ReduceJoin: () => [{ dtype: 'string', shape: undefined }],
  StringLength: (_, inputs) => [{ dtype: 'int32', shape: inputs.shape(0) }],
  Substr: (_, inputs) => [{ dtype: 'string', shape: broadcastShapes(inputs.shape(0), inputs.shape(1)) }],
  ...rulesOf('StringToHashBucketFast StringToHashBucketStrong StringToHashBucket', (_, inputs) => [
    { dtype: 'int64', shape: inputs.shape(0) },
  ]),
  StringToNumber: (node, inputs) => [{ dtype: attribute.typeOf(node, 'out_type', 'float32'), shape: inputs.shape(0) }],
  ...rulesOf('StringSplit StringSplitV2', () => [
    { dtype: 'int64', shape: [-1, 2] },
    { dtype: 'string', shape: [-1] },
    { dtype: 'int64', shape: [2] },
  ]),
  StringNGrams: (node) => [
    { dtype: 'string', shape: [-1] },
    { dtype: attribute.typeOf(node, 'Tsplits', 'int64'), shape: [-1] },
  ],
  RaggedTensorToTensor: (_, inputs) => [{ dtype: inputs.at(1).dtype, shape: inputs.sizes(0) }],
  SparseReshape: (_, inputs) => [
    { dtype: 'int64', shape: [inputs.shape(0)?.[0] ?? -1, inputs.shape(2)?.[0] ?? -1] },
    { dtype: 'int64', shape: inputs.shape(2) },
  ],
  SparseFillEmptyRows: (_, inputs) => [
    { dtype: 'int64', shape: [-1, inputs.shape(0)?.[1] ?? -1] },
    { dtype: inputs.at(1).dtype, shape: [-1] },
    { dtype: 'bool', shape: [-1] },
    { dtype: 'int64', shape: [-1] },
  ],
  DecodeRaw: (node, inputs) => [
    { dtype: attribute.typeOf(node, 'out_type', 'variant'), shape: inputs.shape(0) && [...inputs.shape(0)!, -1] },
  ],
  ParseExample: (node, inputs) => {
    const sparse = attribute.typesOf(node, 'sparse_types', []);
    return parsed(inputs.shape(0), sparse, attribute.typesOf(node, 'Tdense', []), shapesOf(node, 'dense_shapes'));
  },
  ParseExampleV2: (node, inputs) => {
    const sparse = attribute.typesOf(node, 'sparse_types', []);
    const ragged = attribute.typesOf(node, 'ragged_value_types', []);
    const splits = attribute.typesOf(node, 'ragged_split_types', []);
    return [
      ...parsed(inputs.shape(0), sparse, attribute.typesOf(node, 'Tdense', []), shapesOf(node, 'dense_shapes')),
      ...ragged.map((dtype): Known => ({ dtype, shape: [-1] })),
      ...splits.map((dtype): Known => ({ dtype, shape: [-1] })),
    ];
  },
  ParseSingleExample: (node) => {
    const sparse = attribute.typesOf(node, 'sparse_types', []);
    return parsed([], sparse, attribute.typesOf(node, 'Tdense', []), shapesOf(node, 'dense_shapes'));
  },
  ...rulesOf('RandomUniform RandomStandardNormal TruncatedNormal', (node, inputs) => [
    { dtype: attribute.typeOf(node, 'dtype', 'float32'), shape: inputs.sizes(0) },
  ]),
  RandomUniformInt: (_, inputs) => [{ dtype: inputs.at(1).dtype, shape: inputs.sizes(0) }],
  ...rulesOf('StatelessRandomUniform StatelessRandomNormal StatelessRandomUniformV2 StatelessRandomNormalV2', (node, inputs) => [
    { dtype: attribute.typeOf(node, 'dtype', 'float32'), shape: inputs.sizes(0) },
  ]),
  Multinomial: (node, inputs) => [
    { dtype: attribute.typeOf(node, 'output_dtype', 'int64'), shape: [inputs.shape(0)?.[0] ?? -1, inputs.scalar(1) ?? -1] },
  ],
  ...rulesOf(
    'TensorListReserve EmptyTensorList TensorListFromTensor TensorListSetItem TensorListPushBack TensorListResize TensorListScatterV2 TensorListSplit',
    list,
  ),
  TensorListGetItem: (node, inputs) => [{ dtype: elementType(node), shape: inputs.sizes(2) }],
  TensorListPopBack: (node, inputs) => [
    { dtype: 'variant', shape: [] },
    { dtype: elementType(node), shape: inputs.sizes(1) },
  ],
  TensorListStack: (node, inputs) => {
    const element = inputs.sizes(1);
    return [{ dtype: elementType(node), shape: element && [attribute.numberOf(node, 'num_elements', -1), ...element] }];
  },
  TensorListGather: (node, inputs) => {
    const element = inputs.sizes(2);
    return [{ dtype: elementType(node), shape: element && [inputs.shape(1)?.[0] ?? -1, ...element] }];
  },
  ...rulesOf('TensorListConcat TensorListConcatV2', (node) => [
    { dtype: elementType(node), shape: undefined },
    { dtype: 'int64', shape: [-1] },
  ]),
  TensorListLength: () => [{ dtype: 'int32', shape: [] }],
  TensorArrayV3: (node, inputs) => [...handle(node, inputs), ...flow(node, inputs)],
  ...rulesOf('TensorArrayWriteV3 TensorArrayScatterV3 TensorArraySplitV3', flow),
  TensorArrayReadV3: (node) => [{ dtype: attribute.typeOf(node, 'dtype', 'variant'), shape: undefined }],
  TensorArrayGatherV3: (node, inputs) => {
    const element = attribute.shapeOf(node, 'element_shape');
    return [{ dtype: attribute.typeOf(node, 'dtype', 'variant'), shape: element && [inputs.shape(1)?.[0] ?? -1, ...element] }];
  },
  TensorArrayConcatV3: (node) => [
    { dtype: attribute.typeOf(node, 'dtype', 'variant'), shape: undefined },
    { dtype: 'int64', shape: [-1] },
  ],
  TensorArraySizeV3: () => [{ dtype: 'int32', shape: [] }],
  ...rulesOf('Switch', (_, inputs) => [withoutValues(inputs.at(0)), withoutValues(inputs.at(0))]),
  ...rulesOf('Enter Exit LoopCond NextIteration', (_, inputs) => [withoutValues(inputs.at(0))]),
  NoOp: () => [],
};

/** What can be said of the output of an operator without a rule: what its attributes tell. */
export const fallback: Rule = (node) => {
  const names = ['output_types', 'Tout', 'out_type', 'dtype'];
  for (const name of names) {
    const found = Object.hasOwn(node.attributes, name) ? node.attributes[name] : undefined;
    if (found?.kind === 'type') return [{ dtype: found.value, shape: undefined }];
    if (found?.kind === 'list')
      return found.value.map((item) => (item.kind === 'type' ? { dtype: item.value, shape: undefined } : unknown));
  }
  return [unknown];
};

function withoutValues({ dtype, shape }: Known): Known {
  return { dtype, shape };
}

function elementType(node: GraphNode): GraphDType {
  return attribute.typeOf(node, 'element_dtype', 'variant');
}

function shapesOf(node: GraphNode, name: string): readonly PartialShape[] {
  const found = Object.hasOwn(node.attributes, name) ? node.attributes[name] : undefined;
  return found?.kind === 'list' ? found.value.map((item) => (item.kind === 'shape' ? item.value : undefined)) : [];
}

function parsed(
  batch: PartialShape,
  sparse: readonly GraphDType[],
  dense: readonly GraphDType[],
  denseShapes: readonly PartialShape[],
): readonly Known[] {
  const rank = (batch?.length ?? 1) + 1;
  return [
    ...sparse.map((): Known => ({ dtype: 'int64', shape: [-1, rank] })),
    ...sparse.map((dtype): Known => ({ dtype, shape: [-1] })),
    ...sparse.map((): Known => ({ dtype: 'int64', shape: [rank] })),
    ...dense.map((dtype, i): Known => ({ dtype, shape: batch && denseShapes[i] && [...batch, ...denseShapes[i]] })),
  ];
}

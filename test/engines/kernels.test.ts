import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Engine } from '../../src/core/index.ts';
import { openEngine } from '../../src/engines/index.ts';
import { openNodePlatform } from '../../src/engines/node/index.ts';
import { kernelsOfOp } from '../../src/engines/tfjs/graph-ops.ts';
import { bool, type } from '../support/graph-models.ts';
import { accepted } from '../support/kernels/accepted.ts';
import { type KernelCase, kernelCases } from '../support/kernels/cases.ts';
import { compareOutcomes, findDifferences, judge, runCase } from '../support/kernels/compare.ts';

// Each operator alone, through the converter and the engine: cpu, the reference, against wasm, and against WebGPU where
// Node has it. The same runs in Chromium (test/full/browser-kernels.test.ts).

const platform = await openNodePlatform({ allowSoftwareAdapter: true });
let reference: Engine;
beforeAll(async () => {
  reference = await openEngine('tfjs-cpu', platform);
});
afterAll(() => reference[Symbol.asyncDispose]());

const backends = ['tfjs-cpu', 'tfjs-wasm', ...(platform.gpu ? (['tfjs-webgpu'] as const) : [])] as const;
if (!platform.gpu) console.warn(`skipping the kernels of tfjs-webgpu in Node: ${platform.gpuAbsence}`);

test.each(backends)('%s answers as the reference does, or says at load that it cannot', { timeout: 180_000 }, async (backend) => {
  const engine = backend === 'tfjs-cpu' ? reference : await openEngine(backend, platform);
  const before = engine.memory();

  const { unexpected, stale } = judge(await findDifferences(kernelCases, reference, engine), accepted[backend]);

  expect(unexpected).toEqual([]);
  expect(stale).toEqual([]);
  expect(engine.memory()).toEqual(before);
  if (engine !== reference) await engine[Symbol.asyncDispose]();
});

test('the suite has every operator whose kernel gives numbers', () => {
  const tested = new Set(kernelCases.map(({ op }) => op));

  expect([...kernelsOfOp.keys()].filter((op) => !tested.has(op)).sort()).toEqual(untested);
});

// Over strings and tables (text-ops.test.ts, text-graphs.test.ts); control flow and lists, which move tensors only; random
// numbers; and other spellings of operators that are tested.
const untested = `
  BatchMatMul BitwiseAnd Concat Const Conv2dTranspose DepthwiseConv2d EmptyTensorList EnsureShape Enter Exit FakeQuantWithMinMaxVars
  FusedBatchNorm FusedBatchNormV2 Gather HashTable HashTableV2 IRFFT IdentityN If InitializeTable InitializeTableV2 LookupTableFind
  LookupTableFindV2 LookupTableImport LookupTableImportV2 LookupTableSize LookupTableSizeV2 LoopCond Merge Multinomial NextIteration NoOp
  NonMaxSuppressionV2 Ones Placeholder PlaceholderWithDefault Print RaggedGather RaggedRange RaggedTensorToTensor RandomStandardNormal
  RandomUniform RandomUniformInt Reverse ShapeN Snapshot SparseFillEmptyRows SparseReshape StatelessIf StatelessWhile StaticRegexReplace
  StringNGrams StringSplit StringToHashBucketFast Switch TensorArrayCloseV3 TensorArrayConcatV3 TensorArrayGatherV3 TensorArrayReadV3
  TensorArrayScatterV3 TensorArraySizeV3 TensorArraySplitV3 TensorArrayV3 TensorArrayWriteV3 TensorListConcat TensorListConcatV2
  TensorListFromTensor TensorListGather TensorListGetItem TensorListLength TensorListPopBack TensorListPushBack TensorListReserve
  TensorListResize TensorListScatter TensorListScatterV2 TensorListSetItem TensorListSplit TensorListStack TruncatedNormal UniqueV2 While
  Zeros
`
  .trim()
  .split(/\s+/);

test("an application's own backends keep their kernels", async () => {
  await using engine = await openEngine('tfjs-wasm', platform);
  const kernel = (name: string, backend: string) => tf.getKernel(name, backend)?.kernelFunc;
  const own =
    tf
      .engine()
      .backendNames()
      .find((name) => name.startsWith('nearfar-wasm')) ?? '';

  expect(engine.backend).toBe('tfjs-wasm');
  for (const name of ['OneHot', 'Reverse', 'Cast', 'Select']) {
    expect(kernel(name, 'wasm')).toBeTypeOf('function');
    expect(kernel(name, own)).not.toBe(kernel(name, 'wasm'));
  }
  expect(kernel('Einsum', 'wasm')).toBeUndefined();
  expect(kernel('Relu', own)).toBe(kernel('Relu', 'wasm'));
});

// What TensorFlow 2.21 gives: the reference itself was compared to it, case by case, and was wrong here.
describe.each(backends)('corrected operators on %s', (backend) => {
  const of = (dtype: 'float32' | 'int32' | 'bool', shape: readonly number[], values: readonly number[]) => ({ dtype, shape, values });
  const constant = (value: number, dtype: 'float32' | 'int32' = 'int32') =>
    ({ dtype, shape: [], values: [value], isParameter: true }) as const;
  let engine: Engine;
  beforeAll(async () => {
    engine = await openEngine(backend, platform);
  });
  afterAll(() => engine[Symbol.asyncDispose]());
  const answer = async (op: string, inputs: KernelCase['inputs'], dtype: 'float32' | 'int32', attr: KernelCase['attr'] = {}) => {
    const outcome = await runCase(engine, { name: op, op, inputs, attr: { T: type(dtype), ...attr }, outputs: [dtype], tolerance: 0 });
    return 'outputs' in outcome ? Array.from(outcome.outputs[0]!.data as ArrayLike<number>) : outcome;
  };

  test('remainders and quotients go towards zero', async () => {
    const [x, y] = [of('int32', [4], [7, -7, 7, -7]), of('int32', [4], [2, 2, -2, -2])];

    expect(await answer('Mod', [x, y], 'int32')).toEqual([1, -1, 1, -1]);
    expect(await answer('Div', [x, y], 'int32')).toEqual([3, -3, -3, 3]);
    expect(await answer('FloorDiv', [x, y], 'int32')).toEqual([3, -4, -4, 3]);
    expect(await answer('Mod', [of('float32', [2], [-1.5, 5]), of('float32', [2], [1, -3])], 'float32')).toEqual([-0.5, 2]);
  });

  test('whole numbers keep all their digits', async () => {
    const large = of('int32', [3], [2 ** 31 - 1, -(2 ** 24) - 1, 0]);

    expect(await answer('Abs', [large], 'int32')).toEqual([2 ** 31 - 1, 2 ** 24 + 1, 0]);
    expect(await answer('Neg', [large], 'int32')).toEqual([-(2 ** 31) + 1, 2 ** 24 + 1, 0]);
    expect(await answer('Square', [of('int32', [2], [46339, -3])], 'int32')).toEqual([2147302921, 9]);
    expect(await answer('Sum', [of('int32', [2], [2 ** 24, 1]), { ...of('int32', [1], [0]), isParameter: true }], 'int32')).toEqual([
      2 ** 24 + 1,
    ]);
  });

  test('a vector chooses rows, and batches repeat in their own order', async () => {
    const square = of('float32', [2, 2], [1, 2, 3, 4]);

    expect(await answer('Select', [of('bool', [2], [1, 0]), square, of('float32', [2, 2], [-1, -2, -3, -4])], 'float32')).toEqual([
      1, 2, -3, -4,
    ]);
    const attr = { adj_x: bool(false), adj_y: bool(false) };
    const four = of('float32', [2, 2, 1, 1], [1, 2, 3, 4]);
    expect(await answer('BatchMatMulV2', [four, of('float32', [2, 1, 1, 1], [10, 100])], 'float32', attr)).toEqual([10, 20, 300, 400]);
  });

  test('a band has its own upper and lower width', async () => {
    const ones = of('float32', [3, 3], [1, 1, 1, 1, 1, 1, 1, 1, 1]);

    expect(await answer('MatrixBandPart', [ones, constant(1), constant(0)], 'float32')).toEqual([1, 0, 0, 1, 1, 0, 0, 1, 1]);
    expect(await answer('MatrixBandPart', [ones, constant(-1), constant(1)], 'float32')).toEqual([1, 1, 0, 1, 1, 1, 1, 1, 1]);
  });

  test('the sign of no number is none', async () => {
    expect(await answer('Sign', [of('float32', [4], [Number.NaN, 1e-30, -5, 0])], 'float32')).toEqual([Number.NaN, 1, -1, 0]);
  });

  test('soft suppression is refused', async () => {
    const inputs = [
      of('float32', [1, 4], [0, 0, 1, 1]),
      of('float32', [1], [1]),
      constant(1),
      constant(0.5, 'float32'),
      constant(0, 'float32'),
      constant(0.5, 'float32'),
    ];

    expect(await answer('NonMaxSuppressionV5', inputs, 'int32')).toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('soft_nms_sigma of 0.5'),
    });
  });
});

describe('the comparison can fail', () => {
  const [each] = kernelCases.filter(({ name }) => name === 'Abs float32 [7]');

  test.each([
    ['a value', (data: Float32Array) => data.fill(9, 6)],
    ['NaN', (data: Float32Array) => data.fill(Number.NaN, 2, 3)],
  ])('over %s', async (_, spoil) => {
    const wanted = await runCase(reference, each!);
    const spoilt = await runCase(reference, each!);
    if ('outputs' in spoilt) spoil(spoilt.outputs[0]!.data as Float32Array);

    expect(compareOutcomes(each!, wanted, spoilt)).toMatch(/^output 0 at \d/);
  });

  test('over an answer that is accepted as refused but was given, and over a stale acceptance', () => {
    const wrong = { name: 'Dilation2D float32', what: 'output 0 at 2: 0, not -1' };

    expect(judge([wrong], { Dilation2D: 'refused' })).toEqual({ unexpected: [wrong], stale: [] });
    expect(judge([], { Dilation2D: 'refused' })).toEqual({ unexpected: [], stale: ['Dilation2D'] });
  });
});

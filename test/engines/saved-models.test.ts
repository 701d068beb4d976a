import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { EmittedModel, ModelGraph } from '../../src/core/formats/index.ts';
import {
  checkOnnxOps,
  checkTfjsOps,
  type Engine,
  optimize,
  readGraphDef,
  readSavedModel,
  withoutSignatures,
  writeOnnx,
  writeTfjsGraph,
} from '../../src/core/index.ts';
import { openEngine } from '../../src/engines/index.ts';
import { openNodePlatform } from '../../src/engines/node/index.ts';
import { readFolder } from '../core/formats/savedmodel/folder.ts';
import { emittedSource } from '../support/emitted-source.ts';
import {
  readSavedModelCases,
  type SavedModelCase,
  savedModelFixtures,
  tensorOfCase,
  valuesOfTensor,
} from '../support/saved-model-cases.ts';

// SavedModels all the way: read, optimised, written and run by an engine, against what TensorFlow answered.

const platform = await openNodePlatform({ gpu: false });
const cases = readSavedModelCases();
// Its constants are beyond int32: a test of its own.
const models = [...new Set(cases.map(({ dir, file }) => (file ? `${dir}/${file}` : dir)))].filter((path) => path !== 'types');

async function readFixture(path: string): Promise<ModelGraph> {
  if (/\.(pb|pbtxt)$/.test(path)) return readGraphDef(new Uint8Array(readFileSync(`${savedModelFixtures}/${path}`)));
  return readSavedModel(readFolder(`${savedModelFixtures}/${path}`));
}

function expectAnswers(
  outputs: Awaited<ReturnType<Awaited<ReturnType<Engine['load']>>['run']>>,
  { outputs: wanted }: SavedModelCase,
): void {
  for (const [name, want] of Object.entries(wanted)) {
    const got = outputs[name]!;
    expect([name, got.dtype, got.shape]).toEqual([name, want.dtype, want.shape]);
    const [values, expected] = [valuesOfTensor(got), valuesOfTensor(tensorOfCase(want))];
    for (const [index, value] of expected.entries()) {
      const place = `${name}[${index}]`;
      if (!/float|complex/.test(want.dtype)) expect(values[index], place).toBe(value);
      else expect(Math.abs(Number(values[index]) - Number(value)), place).toBeLessThanOrEqual(1e-6 + 1e-5 * Math.abs(Number(value)));
    }
  }
}

async function expectRuns(engine: Engine, graph: ModelGraph, emitted: EmittedModel, runs: readonly SavedModelCase[]): Promise<void> {
  await using loaded = await engine.load(await emittedSource(graph, emitted));
  const before = engine.memory().tensors;

  for (const each of runs) {
    const inputs = Object.fromEntries(Object.entries(each.inputs).map(([name, tensor]) => [name, tensorOfCase(tensor)]));
    expectAnswers(await loaded.run({ signature: each.signature, inputs }), each);
  }

  expect(engine.memory().tensors).toBe(before);
}

const runsOf = (path: string) => cases.filter(({ dir, file }) => (file ? `${dir}/${file}` : dir) === path);

describe.each(['tfjs-cpu', 'tfjs-wasm'] as const)('SavedModels on %s', (backend) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await openEngine(backend, platform);
  });
  afterAll(() => engine[Symbol.asyncDispose]());

  test.each(models)('%s answers as TensorFlow does', async (path) => {
    const read = await optimize(await readFixture(path));
    const graph = withoutSignatures(read, await checkTfjsOps(read));

    await expectRuns(engine, graph, await writeTfjsGraph(graph, { precision: 'float32' }), runsOf(path));
  });
});

/** Operators without a form in ONNX, by model and signature; all others are answered. */
const beyondOnnx: Readonly<Record<string, readonly string[]>> = {
  'aliases join': ['Const', 'Placeholder', 'StringJoin'],
  'control_flow_v1 serving_default': words(
    'Enter Exit LoopCond Merge NextIteration Switch TensorArrayGatherV3 TensorArrayV3 TensorArrayWriteV3',
  ),
  'half_plus_three regress_x_to_y': ['ParseExampleV2', 'Placeholder'],
  'loops serving_default': ['HashTableV2', 'If', 'LookupTableFindV2', 'While'],
  'parse_example serving_default': ['ParseExampleV2', 'Placeholder', 'StringJoin'],
  'random dropout': ['RandomUniform'],
  'random noise': ['RandomStandardNormal'],
  'random sample': ['Multinomial'],
  'shared classify': ['GatherV2'],
  'table_v1 serving_default': ['HashTableV2', 'LookupTableFindV2', 'LookupTableSizeV2', 'Placeholder'],
  'text serving_default': words(
    'HashTableV2 LookupTableFindV2 LookupTableSizeV2 Placeholder RaggedTensorToTensor StringLower StringSplitV2 StringToHashBucketFast',
  ),
};

function words(text: string): string[] {
  return text.split(' ');
}

/** ONNX Runtime for JavaScript has no bfloat16, so that the rest of the signature is asked for. */
function withoutBfloat16<T extends { readonly dtype: string }>(tensors: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(tensors).filter(([, { dtype }]) => dtype !== 'bfloat16'));
}

describe.each(['onnx-cpu', 'onnx-wasm'] as const)('SavedModels on %s', (backend) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await openEngine(backend, platform);
  });
  afterAll(() => engine[Symbol.asyncDispose]());

  test.each(models)('%s answers as TensorFlow does, each signature by itself, or is refused', async (path) => {
    const read = await optimize(await readFixture(path));

    for (const [name, signature] of Object.entries(read.signatures)) {
      const { inputs, outputs } = signature;
      const kept = { ...signature, inputs: withoutBfloat16(inputs), outputs: withoutBfloat16(outputs) };
      const graph = { ...read, signatures: { [name]: kept } };
      const refused = await checkOnnxOps(graph);
      expect(sortedOps(refused), name).toEqual(beyondOnnx[`${path} ${name}`] ?? []);
      if (refused.length > 0) continue;
      const runs = runsOf(path)
        .filter((each) => each.signature === name)
        .map((each) => ({ ...each, inputs: withoutBfloat16(each.inputs), outputs: withoutBfloat16(each.outputs) }));
      await expectRuns(engine, graph, await writeOnnx(graph, { precision: 'float32' }), runs);
    }
  });
});

const sortedOps = (problems: readonly { readonly op: string }[]) => [...new Set(problems.map(({ op }) => op))].sort();

test('what draws random numbers is refused, by signature, with operator and node', async () => {
  const problems = await checkTfjsOps(await optimize(await readFixture('random')));

  expect(problems).toEqual({
    dropout: [expect.stringMatching(/operator RandomUniform \(node dropout\/.*\) draws random numbers/)],
    noise: [expect.stringMatching(/operator RandomStandardNormal \(node random_normal\/.*\) draws random numbers/)],
    sample: [expect.stringMatching(/operator Multinomial \(node multinomial\/.*\) draws random numbers/)],
  });
});

test('constants beyond int32 are refused, not cut', async () => {
  const { serving_default: problems } = await checkTfjsOps(await optimize(await readFixture('types')));

  expect(problems).toHaveLength(3);
  for (const value of ['4294967295', '18446744073709551615', '-9223372036854775808']) {
    expect(problems).toContainEqual(expect.stringContaining(` holds ${value}, TensorFlow.js has whole numbers of int32 only`));
  }
});

test('bfloat16 at the edge of an ONNX model is refused', async () => {
  const problems = await checkOnnxOps(await optimize(await readFixture('narrow')));

  expect(problems.map(({ reason }) => reason).sort()).toEqual(['is an input of bfloat16', ...Array(2).fill('is an output of bfloat16')]);
});

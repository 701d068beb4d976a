import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ModelGraph } from '../../src/core/formats/index.ts';
import {
  checkTfjsOps,
  type Engine,
  optimize,
  readGraphDef,
  readSavedModel,
  withoutSignatures,
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

describe.each(['tfjs-cpu', 'tfjs-wasm'] as const)('SavedModels on %s', (backend) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await openEngine(backend, platform);
  });
  afterAll(() => engine[Symbol.asyncDispose]());

  test.each(models)('%s answers as TensorFlow does', async (path) => {
    const read = await optimize(await readFixture(path));
    const graph = withoutSignatures(read, await checkTfjsOps(read));
    const source = await emittedSource(graph, await writeTfjsGraph(graph, { precision: 'float32' }));
    await using loaded = await engine.load(source);
    const runs = cases.filter(({ dir, file }) => (file ? `${dir}/${file}` : dir) === path);

    const before = engine.memory().tensors;
    for (const each of runs) {
      const inputs = Object.fromEntries(Object.entries(each.inputs).map(([name, tensor]) => [name, tensorOfCase(tensor)]));
      const outputs = await loaded.run({ signature: each.signature, inputs });
      expectAnswers(outputs, each);
    }

    expect(engine.memory().tensors).toBe(before);
  });
});

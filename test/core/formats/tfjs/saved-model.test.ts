import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import type { ModelGraph } from '../../../../src/core/formats/graph/index.ts';
import type { EmittedModel } from '../../../../src/core/formats/model-folder.ts';
import {
  checkTfjsOps,
  customTfjsOps,
  readGraphDef,
  readSavedModel,
  readTfjsGraph,
  withoutSignatures,
  writeTfjsGraph,
} from '../../../../src/core/index.ts';
import { emittedFolder, type Result, runEmitted } from '../../../support/tfjs-graph-run.ts';
import { readFolder } from '../savedmodel/folder.ts';

const fixtures = fileURLToPath(new URL('../../../fixtures/savedmodel', import.meta.url));

interface CaseTensor {
  readonly dtype: string;
  readonly shape: number[];
  readonly data: readonly (number | string | boolean)[];
}

interface Case {
  readonly dir: string;
  readonly file?: string;
  readonly signature: string;
  readonly inputs: Readonly<Record<string, CaseTensor>>;
  readonly outputs: Readonly<Record<string, CaseTensor>>;
}

const cases: readonly Case[] = JSON.parse(readFileSync(`${fixtures}/cases.json`, 'utf8'));
const models = [...new Set(cases.map(({ dir, file }) => (file ? `${dir}/${file}` : dir)))];

async function readModel(path: string): Promise<ModelGraph> {
  if (/\.(pb|pbtxt)$/.test(path)) return readGraphDef(new Uint8Array(readFileSync(`${fixtures}/${path}`)));
  return readSavedModel(readFolder(`${fixtures}/${path}`));
}

const floats = new Set(['float16', 'bfloat16', 'float32', 'float64']);

function toTensor({ dtype, shape, data }: CaseTensor): tf.Tensor {
  if (dtype === 'string')
    return tf.tensor(
      data.map((text) => new Uint8Array(Buffer.from(String(text), 'base64'))),
      shape,
      'string',
    );
  return tf.tensor(data.map(Number), shape, dtype === 'bool' ? 'bool' : floats.has(dtype) ? 'float32' : 'int32');
}

function expectClose(got: Result, want: CaseTensor, what: string): void {
  expect(got.shape, what).toEqual(want.shape);
  for (const [index, value] of want.data.entries()) {
    if (!floats.has(want.dtype) && Math.abs(Number(value)) >= 2 ** 31) continue; // TensorFlow.js has nothing wider than int32
    if (want.dtype === 'string') expect(got.values[index], what).toBe(Buffer.from(String(value), 'base64').toString());
    else
      expect(Math.abs(Number(got.values[index]) - Number(value)), `${what}[${index}]`).toBeLessThanOrEqual(
        1e-6 + 1e-5 * Math.abs(Number(value)),
      );
  }
}

/** What TensorFlow.js alone cannot run: operators of this package's runtime, tested there. */
const elsewhere: Readonly<Record<string, readonly string[]>> = {
  aliases: ['StringJoin'],
  half_plus_three: ['ParseExampleV2'],
  parse_example: ['ParseExampleV2', 'StringJoin'],
  text: ['RaggedTensorToTensor', 'StringLower', 'StringSplitV2'],
};

/** Signatures of the model `random`, refused for what their name says. */
const random = ['dropout', 'noise', 'sample'];

/** Outputs of the model `types` that int32 cannot hold: they are refused, so that the others are asked for. */
function withoutWideConstants(graph: ModelGraph): ModelGraph {
  const isWide = (name: string) => ['int64', 'uint32', 'uint64'].includes(name);
  const signatures = Object.entries(graph.signatures).map(([name, signature]) => {
    const outputs = Object.fromEntries(Object.entries(signature.outputs).filter(([output]) => !isWide(output)));
    return [name, { ...signature, outputs }] as const;
  });
  return { ...graph, signatures: Object.fromEntries(signatures) };
}

test.each(models)('%s answers as TensorFlow does, written once and written again', async (path) => {
  const graph = withoutSignatures(withoutWideConstants(await readModel(path)), Object.fromEntries(random.map((name) => [name, []])));
  const problems = await checkTfjsOps(graph);
  if (path === 'partitioned' || path === 'mod_partitioned') {
    // Look-ups in a partitioned embedding take DynamicPartition, which TensorFlow.js has not: `optimize` joins them.
    expect(problems['serving_default']).toEqual([
      expect.stringContaining('DynamicPartition'),
      expect.stringContaining('ParallelDynamicStitch'),
    ]);
    return;
  }
  expect(problems).toEqual({});
  const emitted = await writeTfjsGraph(graph, { precision: 'float32' });
  const again = await writeTfjsGraph(await readTfjsGraph(await emittedFolder(emitted)), { precision: 'float32' });
  const runs = cases.filter(({ dir, file }) => (file ? `${dir}/${file}` : dir) === path);
  expect(emitted.ops.filter((op) => customTfjsOps.has(op))).toEqual(elsewhere[path] ?? []);

  let compared = 0;
  for (const { signature, inputs, outputs } of Object.hasOwn(elsewhere, path) ? [] : runs) {
    const fed = Object.fromEntries(Object.entries(inputs).map(([name, tensor]) => [name, toTensor(tensor)]));
    for (const model of [emitted, again] satisfies EmittedModel[]) {
      const alive = tf.memory().numTensors;
      const results = await runEmitted(model, signature, fed);
      for (const [name, want] of Object.entries(outputs))
        if (name in results) expectClose(results[name]!, want, `${path} ${signature} ${name}`);
      expect(tf.memory().numTensors).toBe(alive);
    }
    compared++;
    tf.dispose(fed);
  }
  expect(compared).toBe(Object.hasOwn(elsewhere, path) ? 0 : runs.length);
});

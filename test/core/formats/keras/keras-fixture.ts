import { readFile } from 'node:fs/promises';
import * as tf from '@tensorflow/tfjs-core';
import type { ModelFile } from '../../../../src/core/formats/model-folder.ts';
import { type readKeras, writeTfjsGraph } from '../../../../src/core/index.ts';
import { memoryFile, type Result, runEmitted } from '../../../support/tfjs-graph-run.ts';

export interface Recorded {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: readonly number[];
}

/** What test/fixtures/keras/make.py recorded of one model. */
export interface Fixture {
  readonly files: readonly string[];
  readonly feeds: Readonly<Record<string, Recorded>>;
  readonly outputs: Readonly<Record<string, Recorded>>;
}

const folder = new URL('../../../fixtures/keras/', import.meta.url);

export async function fixtureBytes(name: string): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await readFile(new URL(name, folder)));
}

export async function fixtureFile(name: string): Promise<ModelFile> {
  return memoryFile(await fixtureBytes(name));
}

export async function readFixture(name: string): Promise<Fixture> {
  return JSON.parse(await readFile(new URL(`${name}.json`, folder), 'utf8'));
}

/** Runs the one signature of a graph on TensorFlow.js' cpu backend. */
export async function runGraph(
  graph: Awaited<ReturnType<typeof readKeras>>,
  feeds: Readonly<Record<string, Recorded>>,
): Promise<Record<string, Result>> {
  const emitted = await writeTfjsGraph(graph, { precision: 'float32' });
  const tensors = Object.fromEntries(
    Object.entries(feeds).map(([name, { dtype, shape, data }]) => [name, tf.tensor([...data], [...shape], dtype as 'float32' | 'int32')]),
  );
  try {
    return await runEmitted(emitted, 'serving_default', tensors);
  } finally {
    tf.dispose(tensors);
  }
}

/** The largest difference of each output, in parts of its largest value; infinite where shapes differ. */
export function differences(expected: Readonly<Record<string, Recorded>>, got: Readonly<Record<string, Result>>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(expected).map(([name, { shape, data }]) => {
      const result = got[name];
      if (!result || result.shape.join() !== shape.join()) return [name, Number.POSITIVE_INFINITY];
      const largest = Math.max(1e-30, ...data.map(Math.abs));
      return [name, Math.max(...data.map((value, index) => Math.abs(value - Number(result.values[index])))) / largest];
    }),
  );
}

// Variants of published versions on the engines of this machine, as the server opens them, each timed when it is asked.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createTensor, parseManifest } from '../../dist/core/index.js';
import { openEngine } from '../../dist/engines/index.js';
import { openNodePlatform } from '../../dist/engines/node/index.js';
import { answerParent, inputValues } from './load.mjs';

/** @typedef {import('../importer.ts').TimedVariant} TimedVariant */
/** @typedef {import('../../dist/core/index.js').Engine} Engine */

/** @type {{ sides: TimedVariant[], threads: number }} */
const { sides, threads } = JSON.parse(process.argv[2] ?? '{}');
const platform = await openNodePlatform({ gpu: false, threads });
/** @type {Map<string, Engine>} */
const engines = new Map();
/** @type {(() => Promise<unknown>)[]} */
const runs = [];
for (const { backend, directory, variant, shape } of sides) {
  const engine = engines.get(backend) ?? (await openEngine(backend, platform));
  engines.set(backend, engine);
  const manifest = parseManifest(await readFile(join(directory, 'manifest.json')));
  const found = manifest.variants.find(({ id }) => id === variant);
  if (!found) throw new Error(`${directory} has no variant ${variant}`);
  const readFileOf = async (/** @type {string} */ path) => new Uint8Array(await readFile(join(directory, path)));
  const loaded = await engine.load({ manifest, variant: found, readFile: readFileOf });
  const values = inputValues(shape.reduce((product, size) => product * size, 1));
  const [input = ''] = Object.keys(manifest.signatures['serving_default']?.inputs ?? {});
  const request = { signature: 'serving_default', inputs: { [input]: createTensor('float32', shape, values) } };
  const [output] = Object.keys(manifest.signatures['serving_default']?.outputs ?? {});
  runs.push(() => loaded.run({ ...request, outputs: output ? [output] : [] }));
}
answerParent(async ({ side }) => {
  const startedAt = performance.now();
  await runs[side]?.();
  return { ms: performance.now() - startedAt };
});

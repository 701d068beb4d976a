// The server's engine thread alone: no HTTP, no queue in front of it.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createTensor, parseManifest } from '../../dist/core/index.js';
import { EngineThread } from '../../dist/server/servables/engine-thread.js';
import { answerParent, inputValues, load } from './load.mjs';

const { directory, threads, backend, signature, input, output, shape } = JSON.parse(process.argv[2] ?? '{}');
const thread = new EngineThread(
  { threads, allowSoftwareAdapter: false, gpu: false },
  {
    onLost: () => process.exit(1),
    onCrash: () => process.exit(1),
  },
);
const manifest = parseManifest(await readFile(join(directory, 'manifest.json')));
await thread.call({ method: 'load', request: { id: 1, manifest, directory, backends: [backend] } });
const values = inputValues(shape.reduce((/** @type {number} */ product, /** @type {number} */ size) => product * size, 1));

// Each call's tensor is a copy that moves to the thread and comes back, as a request's tensor does.
/** @type {ArrayBuffer[]} */
const free = [];
const run = async () => {
  const data = new Float32Array(free.pop() ?? new ArrayBuffer(values.byteLength));
  data.set(values);
  const request = { signature, inputs: { [input]: createTensor('float32', shape, data) }, outputs: [output] };
  const call = /** @type {const} */ ({ method: 'run', request: { id: 1, request, returnsInputs: true } });
  const { outputs, returned } = await thread.call(call, { transfer: [data.buffer] });
  free.push(...returned);
  if (!outputs[output]) throw new Error(`no output ${output}`);
};
process.once('SIGTERM', () => void thread[Symbol.asyncDispose]().then(() => process.exit()));
answerParent((options) => load(run, options));

// The servables of a server at their door: no transport in front of them.
import { createTensor } from '../../dist/core/index.js';
import { BufferPool } from '../../dist/server/buffer-pool.js';
import { resolveConfig } from '../../dist/server/config.js';
import { createMemoryHistory } from '../../dist/server/history/index.js';
import { createLog } from '../../dist/server/log.js';
import { createMetrics } from '../../dist/server/metrics.js';
import { createServing } from '../../dist/server/serving.js';
import { answerParent, inputValues, load } from './load.mjs';

const { options, name, signature, input, shape } = JSON.parse(process.argv[2] ?? '{}');
const buffers = new BufferPool();
const config = resolveConfig({ logLevel: 'error', ...options });
const serving = createServing(config, {
  log: createLog(config.logLevel),
  metrics: createMetrics(),
  history: createMemoryHistory({ server: 'bench' }),
  buffers,
});
serving.start();
await serving.whenReady();
const values = inputValues(shape.reduce((/** @type {number} */ product, /** @type {number} */ size) => product * size, 1));

// Each request has memory of its own, which the engine's thread takes, as one from a client has.
const call = async () => {
  const handle = serving.servables.lend({ name });
  try {
    const bytes = buffers.allocate(values.byteLength);
    const data = new Float32Array(bytes.buffer, 0, values.length);
    data.set(values);
    await handle.run({ signature, inputs: { [input]: createTensor('float32', shape, data) } }, {});
  } finally {
    handle[Symbol.dispose]();
  }
};

process.once('SIGTERM', async () => {
  serving.startDraining();
  await serving.drain();
  await serving.end();
  process.exit();
});
answerParent(async (question) => ({ ...(await load(call, question)), batching: serving.batching() }));

// Loads a version, asks it once and unloads it, again and again, in a process of its own; prints the resident memory after each round.
// Arguments: folder of a version with a manifest, backend, rounds.
import { readFile } from 'node:fs/promises';
import { decodeSafetensors } from '../../dist/core/index.js';
import { BufferPool } from '../../dist/server/buffer-pool.js';
import { createLog } from '../../dist/server/log.js';
import { createMetrics } from '../../dist/server/metrics.js';
import { defaultModelOptions } from '../../dist/server/model-options.js';
import { readVersionDirectory } from '../../dist/server/repository/version-directory.js';
import { EngineHost, Servables } from '../../dist/server/servables/index.js';

const [directory = '', backend = '', rounds = '0'] = process.argv.slice(2);
const log = createLog('error');
const metrics = createMetrics();
const engines = new EngineHost({
  threads: 1,
  allowSoftwareAdapter: false,
  gpu: false,
  workersPerVersion: 1,
  maxWorkers: 8,
  mostLoads: 8,
  mostUnloads: 8,
  warmupIterations: 1,
  maxInFlight: 8,
  buffers: new BufferPool(),
  log,
  onRestart: () => {},
});
/** @type {() => void} */
let onChange = () => {};
const servables = new Servables({
  load: (source, options) => engines.load(source, [/** @type {import('../../dist/core/index.js').BackendId} */ (backend)], options),
  optionsOf: () => defaultModelOptions,
  maxLoadRetries: 0,
  backOff: { firstMs: 1, maxMs: 1 },
  metrics,
  log,
  onChange: () => onChange(),
  names: () => ['m'],
});
servables.startServing();
const version = await readVersionDirectory(directory, '1');
const inputs = decodeSafetensors(new Uint8Array(await readFile(`${directory}/golden/0.in.safetensors`)));

/** @param {boolean} isWanted */
function apply(isWanted) {
  const wanted = isWanted ? [version] : [];
  servables.apply({
    name: 'm',
    versions: new Map(wanted.map((source) => [source.version, source])),
    pending: new Map(),
    labels: {},
    wanted,
    versionsFile: { bytes: new Uint8Array(), digest: '' },
  });
}

/** @param {string} state */
async function until(state) {
  const holds = () => servables.status({ name: 'm' })[0]?.state === state;
  while (!holds()) {
    await /** @type {Promise<void>} */ (
      new Promise((resolve) => {
        onChange = resolve;
      })
    );
  }
}

const memory = [];
for (let round = 0; round < Number(rounds); round++) {
  apply(true);
  await until('AVAILABLE');
  {
    const handle = servables.lend({ name: 'm' });
    await handle.run({ signature: 'serving_default', inputs: structuredClone(inputs) }, { signal: undefined });
    handle[Symbol.dispose]();
  }
  apply(false);
  await until('END');
  memory.push(process.memoryUsage().rss);
}
process.stdout.write(JSON.stringify(memory));

await engines[Symbol.asyncDispose]();

// Closes a server in the middle of native runs and tells how its requests ended; a process of its own, because what it shows is that
// the process survives. Arguments: the folder of models, the backend, the batch size.
import { startServer } from '../../dist/server/index.js';

const [modelsRoot = '', backend = '', batch = ''] = process.argv.slice(2);
const server = await startServer({
  host: '127.0.0.1',
  restPort: 0,
  grpcPort: 'off',
  modelsRoot,
  backends: [/** @type {import('../../src/core/index.ts').BackendId} */ (backend)],
  allowSoftwareAdapter: true,
  lameDuckMs: 0,
  gracePeriodMs: 0,
  logLevel: 'warn',
});
await server.whenReady();

async function predict() {
  const shape = [Number(batch), 32, 32, 3];
  const image = /** @type {const} */ ({ dtype: 'float32', shape, data: new Float32Array(Number(batch) * 32 * 32 * 3) });
  const handle = server.servables.lend({ name: 'everyday10' });
  try {
    await handle.run({ signature: 'serving_default', inputs: { image } }, {});
    return 'answered';
  } catch (error) {
    return error instanceof Error && 'code' in error ? error.code : String(error);
  } finally {
    handle[Symbol.dispose]();
  }
}

const outcomes = Array.from({ length: 8 }, predict);
// When the first is answered the engine is at the second, or begins it in this moment.
await outcomes[0];
await server.close();
console.log(JSON.stringify(await Promise.all(outcomes)));

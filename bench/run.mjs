// `npm run bench`: runs the benches, which are TypeScript and share the tests' browser, page builder and models.
import { fileURLToPath } from 'node:url';
import { runnerImport } from 'vite';

/** @type {{ module: typeof import('./main.ts') }} */
const { module } = await runnerImport(fileURLToPath(new URL('./main.ts', import.meta.url)), {
  configFile: false,
  root: fileURLToPath(new URL('..', import.meta.url)),
  logLevel: 'warn',
  // Node 20 has no `await using`.
  oxc: { target: 'es2022' },
});
process.exitCode = await module.main(process.argv.slice(2));

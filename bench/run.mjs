// `npm run bench`: runs the benches, which are TypeScript and share the tests' browser, page builder and models.
import { fileURLToPath } from 'node:url';
import { runnerImport } from 'vite';

// The module does its work while it is imported: afterwards nothing more could be imported lazily.
await runnerImport(fileURLToPath(new URL('./main.ts', import.meta.url)), {
  configFile: false,
  root: fileURLToPath(new URL('..', import.meta.url)),
  logLevel: 'error',
  // Node 20 has no `await using`.
  oxc: { target: 'es2022' },
});

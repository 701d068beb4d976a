import { copyFile } from 'node:fs/promises';
import { build } from 'esbuild';
import { copyBeside } from './copy-beside.js';

// Done once for each version of nearfar: the application's own modules are served as they are written.
await build({
  entryPoints: { nearfar: 'nearfar', worker: 'nearfar/worker' },
  bundle: true,
  minify: true,
  format: 'esm',
  splitting: true,
  outdir: 'out/plain/vendor',
});
await copyBeside('out/plain/vendor');
await copyFile('plain.html', 'out/plain/index.html');
await copyFile('show-answer.js', 'out/plain/show-answer.js');
await copyFile('plain-entry.js', 'out/plain/main.js');

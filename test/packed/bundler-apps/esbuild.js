import { copyFile } from 'node:fs/promises';
import { build } from 'esbuild';
import { copyBeside } from './copy-beside.js';

const outdir = 'out/esbuild';
await build({
  entryPoints: { main: './own-worker-entry.js', worker: 'nearfar/worker' },
  bundle: true,
  minify: true,
  format: 'esm',
  splitting: true, // a page loads one engine and not all of them
  outdir,
});
await copyBeside(outdir);
await copyFile('index.html', `${outdir}/index.html`);

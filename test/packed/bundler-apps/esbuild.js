import { copyFile, mkdir, readdir } from 'node:fs/promises';
import { build } from 'esbuild';

const outdir = 'out/esbuild';
await mkdir(outdir, { recursive: true });
await build({
  entryPoints: { main: './esbuild-entry.js', worker: 'nearfar/worker' },
  bundle: true,
  minify: true,
  format: 'esm',
  splitting: true, // a page loads one engine and not all of them
  outdir,
});
// esbuild leaves `new URL(…, import.meta.url)` as it is: what it names has to lie beside the output.
for (const folder of ['node_modules/nearfar/dist/engines/browser', 'node_modules/onnxruntime-web/dist']) {
  const files = (await readdir(folder)).filter((name) => name.endsWith('.wasm'));
  for (const name of files) await copyFile(`${folder}/${name}`, `${outdir}/${name}`);
}
await copyFile('index.html', `${outdir}/index.html`);

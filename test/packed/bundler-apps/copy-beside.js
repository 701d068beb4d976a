import { copyFile, readdir } from 'node:fs/promises';

/** Copies what the code names by `new URL(…, import.meta.url)`, which esbuild and Rollup leave as it is. */
export async function copyBeside(out) {
  for (const folder of ['node_modules/nearfar/dist/engines/browser', 'node_modules/onnxruntime-web/dist']) {
    const files = (await readdir(folder)).filter((name) => name.endsWith('.wasm'));
    for (const name of files) await copyFile(`${folder}/${name}`, `${out}/${name}`);
  }
}

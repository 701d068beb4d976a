import { copyFile } from 'node:fs/promises';
import commonjs from '@rollup/plugin-commonjs';
import { nodeResolve } from '@rollup/plugin-node-resolve';
import { rollup } from 'rollup';
import { copyBeside } from './copy-beside.js';

const dir = 'out/rollup';
const bundle = await rollup({
  input: { main: './own-worker-entry.js', worker: 'nearfar/worker' },
  plugins: [nodeResolve({ browser: true }), commonjs()], // TensorFlow.js still carries CommonJS modules
});
await bundle.write({ dir, format: 'es' });
await bundle.close();
await copyBeside(dir);
await copyFile('index.html', `${dir}/index.html`);

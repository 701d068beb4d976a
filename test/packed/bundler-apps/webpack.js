import { copyFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import webpack from 'webpack';

const path = fileURLToPath(new URL('./out/webpack', import.meta.url));
const stats = await new Promise((resolve, reject) => {
  // webpack's defaults: it needs no setting for nearfar.
  webpack({ mode: 'production', entry: './webpack-entry.js', output: { path, filename: 'main.js', clean: true } }, (error, result) =>
    error ? reject(error) : resolve(result),
  );
});
await copyFile('index.html', `${path}/index.html`);
console.log(stats.toString({ all: false, errors: true, warnings: true }));
if (stats.hasErrors()) process.exitCode = 1;

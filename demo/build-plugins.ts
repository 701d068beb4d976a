import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import sharp from 'sharp';
import type { Plugin } from 'vite';

/** Renders the drawn samples to PNG: the same pixels in every browser and on the server. */
export function renderSamples(folder: string): Plugin {
  const render = (name: string) => sharp(join(folder, name)).resize(640, 640).png({ compressionLevel: 9 }).toBuffer();
  return {
    name: 'render-samples',
    async generateBundle() {
      for (const name of await readdir(folder)) {
        this.emitFile({ type: 'asset', fileName: `samples/${basename(name, '.svg')}.png`, source: await render(name) });
      }
    },
    configureServer({ middlewares }) {
      middlewares.use('/samples', (request, response, next) => {
        const name = /^\/([a-z]+)\.png$/.exec(request.url ?? '')?.[1];
        if (!name) return next();
        render(`${name}.svg`).then((png) => response.setHeader('content-type', 'image/png').end(png), next);
      });
    },
  };
}

/** Files above this size (the ONNX runtimes) are kept for offline use only once a visitor needed them. */
const precacheLimitBytes = 2 ** 20;

/** Lists what the service worker keeps from the first visit on. */
export function listPrecache(): Plugin {
  return {
    name: 'list-precache',
    enforce: 'post',
    generateBundle(_options, bundle) {
      const size = (source: string | Uint8Array) => (typeof source === 'string' ? Buffer.byteLength(source) : source.byteLength);
      const files = Object.values(bundle)
        .filter((file) => size(file.type === 'chunk' ? file.code : file.source) <= precacheLimitBytes)
        .map(({ fileName }) => `/${fileName}`)
        .filter((path) => path !== '/index.html' && path !== '/service-worker.js' && !path.endsWith('.map'));
      this.emitFile({ type: 'asset', fileName: 'precache.json', source: JSON.stringify([...files, '/icon.svg'].sort()) });
    },
  };
}

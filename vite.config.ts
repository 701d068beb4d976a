import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';
import { listPrecache, renderSamples } from './demo/build-plugins.ts';

const demo = (path: string) => fileURLToPath(new URL(`demo/${path}`, import.meta.url));

// The demo page: an application like any other, importing the built package by its own name.
export default defineConfig({
  root: 'demo',
  base: './',
  plugins: [renderSamples(demo('samples')), listPrecache()],
  worker: { format: 'es' },
  build: {
    outDir: '../dist/demo',
    emptyOutDir: true,
    target: 'es2022',
    chunkSizeWarningLimit: 2_000,
    rollupOptions: {
      input: { index: demo('index.html'), 'service-worker': demo('service-worker/service-worker.ts') },
      // A service worker is found by its name, and its scope is its folder.
      output: { entryFileNames: ({ name }) => (name === 'service-worker' ? '[name].js' : 'assets/[name]-[hash].js') },
    },
  },
});

import { defineConfig } from 'vite';

// The demo page: an application like any other, importing the built package by its own name.
export default defineConfig({
  root: 'demo',
  base: './',
  worker: { format: 'es' },
  build: { outDir: '../dist/demo', emptyOutDir: true, target: 'es2022', chunkSizeWarningLimit: 2_000 },
});

import { defineConfig } from 'vite';

const tfjs = ['core', 'converter', 'backend-cpu', 'backend-wasm', 'backend-webgpu'];

// The settings that docs/bundlers.md recommends.
export default defineConfig({
  worker: { format: 'es' },
  optimizeDeps: { include: tfjs.map((part) => `nearfar > @tensorflow/tfjs-${part}`) },
});

import { defineConfig } from 'vite';

// The one setting an application needs: workers are modules.
export default defineConfig({ worker: { format: 'es' } });

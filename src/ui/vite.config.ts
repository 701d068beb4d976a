import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

// The management page: bundled with all it needs, so that it loads nothing from anywhere but its server.
export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  base: './',
  build: {
    outDir: '../../dist/ui',
    emptyOutDir: true,
    target: 'es2022',
    // light-dark(), which is in all browsers since May 2024.
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
    // Inlined pictures and a polyfill in the page would need a wider policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: {
      // A package that is not installed would be left to the browser, which shows an empty page.
      onwarn(warning, warn) {
        if (warning.code === 'UNRESOLVED_IMPORT') throw new Error(warning.message);
        warn(warning);
      },
    },
  },
});

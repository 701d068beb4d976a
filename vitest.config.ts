import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { findSoftwareVulkan } from './scripts/find-browser.mjs';

// Test processes inherit this, so that WebGPU through Dawn has a software adapter in Node too.
Object.assign(process.env, findSoftwareVulkan().env);

export default defineConfig({
  test: {
    // One less than the cores by default, which leaves half of two idle: tests wait for servers and processes half of their time.
    maxWorkers: Math.max(3, availableParallelism() - 1),
    projects: [
      {
        test: {
          name: 'node',
          include: ['test/{core,engines,worker,sdk,publish,server,cli,contract,docs,packed}/**/*.test.ts'],
          globalSetup: 'test/support/global-setup.ts',
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'browser',
          include: ['test/browser/**/*.test.ts'],
          globalSetup: 'test/support/global-setup.ts',
          testTimeout: 180_000,
          hookTimeout: 180_000,
          // One browser at a time: two software GPUs on two cores only slow each other down.
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'full',
          include: ['test/full/**/*.test.ts'],
          globalSetup: 'test/support/global-setup.ts',
          testTimeout: 600_000,
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
    ],
  },
});

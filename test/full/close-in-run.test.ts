import { join } from 'node:path';
import { expect, test } from 'vitest';
import { findSoftwareVulkan } from '../../scripts/find-browser.mjs';
import { repositoryRoot, runCommand } from '../support/packed.ts';

const vulkan = findSoftwareVulkan();
const noGpu = vulkan.env ? undefined : vulkan.reason;

// Batches large enough for a run to last some tens of milliseconds, or as long as one takes on a software GPU.
test.for([
  { backend: 'onnx-cpu', batch: 64, absence: undefined },
  { backend: 'tfjs-wasm', batch: 64, absence: undefined },
  { backend: 'onnx-webgpu', batch: 1, absence: noGpu },
  { backend: 'tfjs-webgpu', batch: 1, absence: noGpu },
])(
  'a server that closes while $backend computes answers that run, refuses the rest and ends well',
  async ({ backend, batch, absence }, { skip }) => {
    skip(absence !== undefined, absence);
    const script = join(repositoryRoot, 'test/support/close-in-run.mjs');

    const { status, stdout } = await runCommand(process.execPath, [script, join(repositoryRoot, 'models'), backend, String(batch)]);

    expect(status).toBe(0);
    const outcomes: string[] = JSON.parse(stdout);
    // The engine is at the second run when the server closes, or about to begin it, which the queue alone decides.
    expect(outcomes.join(' ')).toMatch(/^answered( answered)?( unavailable){6,7}$/);
    expect(outcomes).toHaveLength(8);
  },
);

import { createTensor, parseManifest } from '../../dist/core/index.js';
import { openBrowserPlatform } from '../../dist/engines/browser/index.js';
import { openEngine } from '../../dist/engines/index.js';
import type { TimedVariant } from '../importer.ts';

// The same as processes/variants.mjs in a page; `directory` is an address.

const runs: (() => Promise<unknown>)[] = [];

async function openVariants(sides: readonly TimedVariant[]): Promise<void> {
  const platform = openBrowserPlatform({ allowSoftwareAdapter: true });
  const engines = new Map<string, Awaited<ReturnType<typeof openEngine>>>();
  for (const { backend, directory, variant, shape } of sides) {
    const engine = engines.get(backend) ?? (await openEngine(backend, platform));
    engines.set(backend, engine);
    const readFile = async (path: string) => new Uint8Array(await (await fetch(`${directory}/${path}`)).arrayBuffer());
    const manifest = parseManifest(await readFile('manifest.json'));
    const found = manifest.variants.find(({ id }) => id === variant);
    if (!found) throw new Error(`${directory} has no variant ${variant}`);
    const loaded = await engine.load({ manifest, variant: found, readFile });
    const [input = ''] = Object.keys(manifest.signatures['serving_default']?.inputs ?? {});
    const outputs = Object.keys(manifest.signatures['serving_default']?.outputs ?? {}).slice(0, 1);
    const length = shape.reduce((product, size) => product * size, 1);
    const values = Float32Array.from({ length }, (_, index) => ((index * 2_654_435_761) % 256) / 128 - 1);
    runs.push(() =>
      loaded.run({ signature: 'serving_default', inputs: { [input]: createTensor('float32', [...shape], values) }, outputs }),
    );
  }
}

/** @returns milliseconds of one run of a side, its result read back. */
async function timeVariant(side: number): Promise<number> {
  const startedAt = performance.now();
  await runs[side]?.();
  return performance.now() - startedAt;
}

declare global {
  interface Window {
    openVariants: typeof openVariants;
    timeVariant: typeof timeVariant;
  }
}

Object.assign(window, { openVariants, timeVariant });
document.documentElement.dataset['ready'] = 'true';

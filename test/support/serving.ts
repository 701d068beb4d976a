import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { vi } from 'vitest';
import { digestOf, type TensorMap } from '../../src/core/index.ts';
import { BufferPool } from '../../src/server/buffer-pool.ts';
import { resolveConfig, type ServerOptions } from '../../src/server/config.ts';
import { createMemoryHistory } from '../../src/server/history/index.ts';
import { createLog } from '../../src/server/log.ts';
import { createMetrics, type ServerMetrics } from '../../src/server/metrics.ts';
import type { ServableSpec } from '../../src/server/servables/index.ts';
import { createServing, type Serving } from '../../src/server/serving.ts';
import { everyday10Golden } from './everyday10.ts';
import { openTempFolder } from './model-folder.ts';

// Real engines in the real engine worker, on the built-in model: what stands between the disk and the transports.

export const golden = await everyday10Golden();
export const goldenTolerance = { absolute: 1e-4, relative: 1e-3 };

/** A folder of models of the test's own, with one model in it, and the servings that a test opens over it. */
export interface ServingBench extends AsyncDisposable {
  readonly folder: string;
  /** `<folder>/models/everyday10`, not there yet. */
  readonly modelFolder: string;
  open(options?: ServerOptions, buffers?: BufferPool): Serving & { readonly metrics: ServerMetrics };
}

export async function openServingBench(): Promise<ServingBench> {
  const folder = await openTempFolder();
  const opened: Serving[] = [];
  return {
    folder: folder.path,
    modelFolder: join(folder.path, 'models/everyday10'),
    open: (options, buffers = new BufferPool()) => {
      const config = resolveConfig({
        modelsRoot: join(folder.path, 'models'),
        cacheDir: join(folder.path, 'cache'),
        backends: ['onnx-cpu'],
        engineThreads: 1,
        pollIntervalMs: 20,
        firstLoadRetryMs: 20,
        maxLoadRetryMs: 40,
        logLevel: 'silent',
        ...options,
      });
      const metrics = createMetrics();
      const serving = createServing(config, {
        log: createLog(config.logLevel),
        metrics,
        history: createMemoryHistory({ server: 'test' }),
        buffers,
      });
      opened.push(serving);
      serving.start();
      return { ...serving, metrics };
    },
    [Symbol.asyncDispose]: async () => {
      for (const serving of opened) {
        serving.startDraining();
        await serving.drain();
        await serving.end();
      }
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** The golden inputs, the caller's own: a run takes its inputs over. */
export function goldenInputs(): TensorMap {
  return structuredClone(golden.inputs);
}

/** One prediction of everyday10, with what the handle says about the version that made it. */
export async function predict({ servables }: Serving, spec: Partial<ServableSpec> = {}, options: { signal?: AbortSignal } = {}) {
  using handle = servables.lend({ name: 'everyday10', ...spec });
  const { version, digest, backend, labels } = handle;
  const { outputs, timing } = await handle.run({ signature: 'serving_default', inputs: goldenInputs() }, options);
  return { version, digest, backend, labels, outputs, timing };
}

/** The states of the versions of everyday10; none before its folder was looked at. */
export function statesOf({ servables }: Serving): Record<string, string> {
  if (servables.names().length === 0) return {};
  try {
    return Object.fromEntries(servables.status({ name: 'everyday10' }).map(({ version, state }) => [version, state]));
  } catch {
    return {};
  }
}

export function errorOf({ servables }: Serving, version: string): string {
  return servables.status({ name: 'everyday10' }).find((status) => status.version === version)?.errorMessage ?? '';
}

export async function until(holds: () => boolean): Promise<void> {
  await vi.waitUntil(holds, { interval: 5, timeout: 30_000 });
}

export async function publishedVersions(modelFolder: string, versions: readonly string[]): Promise<{ version: string; digest: string }[]> {
  const digest = async (version: string) => digestOf(new Uint8Array(await readFile(join(modelFolder, version, 'manifest.json'))));
  return Promise.all(versions.map(async (version) => ({ version, digest: await digest(version) })));
}

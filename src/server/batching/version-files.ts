import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Manifest } from '../../core/index.ts';
import type { Batching } from '../model-options.ts';
import { isMissing, type VersionOnDisk } from '../repository/index.ts';
import { defaultBatchingOptions, parseBatchingParameters } from './parameters.ts';

/** In the directory of a version, as in TensorFlow Serving. */
const fileName = 'batching_params.pbtxt';

/** The batching parameters that versions bring themselves, under `--enable_per_model_batching_parameters`. */
export interface VersionBatching {
  /**
   * Reads those of a version that is about to be loaded.
   * @throws {NearfarError} `invalid-argument`: as in TensorFlow Serving the version then does not load.
   */
  read(version: VersionOnDisk): Promise<void>;
  /** Those of a version that was read; off where it brings none, as in TensorFlow Serving. */
  of(manifest: Manifest): Batching;
}

/** @param common Names the thread pool and its size, which the models share. */
export function createVersionBatching(common: Batching): VersionBatching {
  const known = new WeakMap<Manifest, Batching>();
  const { numBatchThreads, threadPoolName } = common !== 'off' && common.kind === 'fixed' ? common.options : defaultBatchingOptions;
  return {
    read: async ({ manifest, directory, original }) => {
      if (common === 'off') return;
      const file = join(original ?? directory, fileName);
      const text = await readFile(file, 'utf8').catch((error: unknown) => {
        if (isMissing(error)) return undefined;
        throw error;
      });
      if (text === undefined) return;
      known.set(manifest, { kind: 'fixed', options: { ...parseBatchingParameters(text, file), numBatchThreads, threadPoolName } });
    },
    of: (manifest) => known.get(manifest) ?? 'off',
  };
}

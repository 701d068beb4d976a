import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BatchingOptions } from '../model-options.ts';
import { isMissing } from '../repository/index.ts';
import { parseBatchingParameters } from './parameters.ts';

/** In the directory of a version, as in TensorFlow Serving. */
const fileName = 'batching_params.pbtxt';

/**
 * The batching parameters that a version brings itself, under `--enable_per_model_batching_parameters`.
 * @param common Names the thread pool and its size, which the models share.
 * @returns undefined where it brings none: as in TensorFlow Serving it is then not batched.
 * @throws {NearfarError} `invalid-argument`.
 */
export async function readVersionBatching(directory: string, common: BatchingOptions): Promise<BatchingOptions | undefined> {
  const file = join(directory, fileName);
  try {
    const own = parseBatchingParameters(await readFile(file, 'utf8'), file);
    return { ...own, numBatchThreads: common.numBatchThreads, threadPoolName: common.threadPoolName };
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

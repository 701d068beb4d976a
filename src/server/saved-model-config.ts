import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isMissing, type VersionOnDisk } from './repository/index.ts';

const path = 'assets.extra/saved_model_config.pb';

/** Says that a file of TensorFlow Serving has no effect: it overrides settings of TensorFlow sessions and of its runtime, which are not here. */
export async function warnOfSavedModelConfig(
  { manifest, directory, original = directory }: VersionOnDisk,
  log: { warn(fields: object, message: string): void },
): Promise<void> {
  const isThere = await stat(join(original, path)).then(
    () => true,
    (error: unknown) => {
      if (isMissing(error)) return false;
      throw error;
    },
  );
  if (!isThere) return;
  log.warn(
    { model: manifest.name, version: manifest.version },
    `${path} has no effect: it sets up TensorFlow sessions; batching is set by batching_params.pbtxt (--enable_per_model_batching_parameters)`,
  );
}

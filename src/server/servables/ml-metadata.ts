import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isMissing } from '../repository/index.ts';

/** The UUID by which ML Metadata knows a version, where TensorFlow Serving reads it too; undefined where there is none. */
export async function readMlMetadataUuid(directory: string): Promise<string | undefined> {
  try {
    return (await readFile(join(directory, 'assets.extra/mlmd_uuid'), 'utf8')).trim();
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

import { constants, platform, setPriority } from 'node:os';
import { parentPort } from 'node:worker_threads';
import { type SerializedError, serializeError } from '../../core/index.ts';
import { importDirectory } from '../../publish/index.ts';
import type { PlainVersion } from './import-cache.ts';

// The entry of a thread that imports one version after another: reference runs of the importer would block the event loop.

export interface ImportJob extends Pick<PlainVersion, 'name' | 'version' | 'directory' | 'savedModelTags'> {
  readonly out: string;
  /** Whether nothing is served that it could hold up. */
  readonly isUrgent: boolean;
}

parentPort?.on('message', async ({ name, version, directory, savedModelTags, out, isUrgent }: ImportJob) => {
  // Linux knows priorities of threads, and 0 is the calling one: those that it starts inherit it. Elsewhere this would be the whole process.
  if (!isUrgent && platform() === 'linux') setPriority(0, constants.priority.PRIORITY_LOW);
  const error = await importDirectory(directory, out, { name, version, savedModelTags }).then(
    () => undefined,
    (cause: unknown): SerializedError => serializeError(cause),
  );
  parentPort?.postMessage(error);
});

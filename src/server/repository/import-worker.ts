import { constants, platform, setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { type SerializedError, serializeError } from '../../core/index.ts';
import { importDirectory } from '../../publish/index.ts';
import type { PlainVersion } from './import-cache.ts';

// The entry of a thread that imports one version and ends: reference runs of the importer would block the event loop.

/** What the thread is started with. */
export interface ImportWorkerData {
  readonly plain: PlainVersion;
  readonly out: string;
}

// Linux knows priorities of threads, and 0 is the calling one: those that it starts inherit it. Elsewhere this would be the whole process.
if (platform() === 'linux') setPriority(0, constants.priority.PRIORITY_LOW);

const { plain, out }: ImportWorkerData = workerData;
const error = await importDirectory(plain.directory, out, {
  name: plain.name,
  version: plain.version,
  savedModelTags: plain.savedModelTags,
}).then(
  () => undefined,
  (cause: unknown): SerializedError => serializeError(cause),
);
parentPort?.postMessage(error);

import type { OpenedTasks, TaskSource } from '../core/index.ts';
import { openTask } from '../core/tasks/open-task/index.ts';

/** A version with the files that its tasks read: plain data, for a thread that opens them. */
export interface SentVersion {
  readonly digest: string;
  readonly manifest: TaskSource['manifest'];
  readonly files: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
}

const opened = new Map<string, Promise<unknown>>();
const maxOpened = 64;

/** Opens a task once for each version in this thread; one that failed is tried again. */
export function openSentTask<Name extends keyof OpenedTasks>(
  name: Name,
  { digest, manifest, files }: SentVersion,
): Promise<OpenedTasks[Name]> {
  const key = `${name} ${digest}`;
  const known = opened.get(key);
  if (known) return known as Promise<OpenedTasks[Name]>; // of this task, as the key says
  const opening = openTask(name, { manifest, readFile: async (path) => files.get(path) ?? new Uint8Array() });
  if (opened.size >= maxOpened) opened.clear();
  opened.set(key, opening);
  opening.catch(() => opened.delete(key));
  return opening;
}

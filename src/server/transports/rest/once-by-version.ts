import type { TaskSource } from '../../../core/index.ts';
import type { ServableHandle } from '../../servables/index.ts';
import type { RestContext } from '../context.ts';
import { readVersionFile } from '../version-file.ts';

const maxOpened = 64;

/** What is opened once per version, by the version's digest; what failed is tried again. */
export function onceByVersion<Task>(
  { files }: RestContext,
  open: (source: TaskSource) => Promise<Task>,
): (handle: ServableHandle) => Promise<Task> {
  const opened = new Map<string, Promise<Task>>();
  return (handle) => {
    const { digest, manifest } = handle;
    const known = opened.get(digest);
    if (known) return known;
    const opening = open({ manifest, readFile: (path) => readVersionFile(files, handle, path) });
    if (opened.size >= maxOpened) opened.clear();
    opened.set(digest, opening);
    opening.catch(() => opened.delete(digest));
    return opening;
  };
}

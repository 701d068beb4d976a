import { taskReferences } from '../../../core/index.ts';
import type { SentVersion } from '../../sent-task.ts';
import type { ServableHandle } from '../../servables/index.ts';
import type { RestContext } from '../context.ts';
import { onceByVersion } from './once-by-version.ts';

/** Versions as a thread opens their tasks; the files are read once. */
export function sentVersions(context: RestContext): (handle: ServableHandle) => Promise<SentVersion> {
  const filesOf = onceByVersion(context, async ({ manifest, readFile }) => {
    const paths = taskReferences(manifest.tasks).flatMap(({ files }) => files);
    return new Map(await Promise.all(paths.map(async (path) => [path, await readFile(path)] as const)));
  });
  return async (handle) => {
    const { digest, manifest } = handle;
    // What no task reads would be copied to the thread in vain.
    return { digest, manifest: { ...manifest, variants: [], files: {}, golden: [] }, files: await filesOf(handle) };
  };
}

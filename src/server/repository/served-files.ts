import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { digestOf } from '../../core/index.ts';
import type { Logger } from '../log.ts';
import { createCheckedFiles } from './checked-files.ts';
import type { ModelSnapshot } from './model-directory.ts';
import type { PublishedFile, PublishedFiles } from './published-files.ts';

/**
 * The files of every published version, loaded or not; only names that a manifest lists are ever looked for on disk, and only bytes
 * of the manifest's digest are found: browsers and caches keep them for a year.
 * @param names Of the models, for other servers that read from this one; without them they are not told.
 */
export function createPublishedFiles(
  snapshotOf: (name: string) => ModelSnapshot | undefined,
  log: Logger,
  names?: () => readonly string[],
): PublishedFiles {
  const checked = createCheckedFiles(log);
  return {
    find: async (path) => {
      if (names && path === 'models.json') return listOfModels(names());
      const [, name, rest] = /^([^/]+)\/(.+)$/s.exec(path) ?? [];
      const snapshot = name === undefined ? undefined : snapshotOf(name);
      if (!snapshot || rest === undefined) return undefined;
      if (rest === 'versions.json') return fromBytes(snapshot.versionsFile, false);
      const [, version, file] = /^([1-9]\d*)\/(.+)$/s.exec(rest) ?? [];
      const published = version === undefined ? undefined : snapshot.versions.get(version);
      if (!published || file === undefined) return undefined;
      if (file === 'manifest.json') return fromBytes({ bytes: published.manifestBytes, digest: published.digest }, true);
      const listed = Object.hasOwn(published.manifest.files, file) ? published.manifest.files[file] : undefined;
      if (!listed) return undefined;
      const size = await stat(join(published.directory, file)).then(
        (found) => found.size,
        () => undefined,
      );
      // A version deleted or cut short since the last look: as good as not there, and no reason to read it.
      const onDisk = size === listed.bytes ? await checked.locate(published, file) : undefined;
      if (onDisk === undefined) return undefined;
      return { body: { path: onDisk }, bytes: listed.bytes, digest: listed.digest, isImmutable: true };
    },
  };
}

async function listOfModels(models: readonly string[]): Promise<PublishedFile> {
  const bytes = new TextEncoder().encode(JSON.stringify({ models }));
  return fromBytes({ bytes, digest: await digestOf(bytes) }, false);
}

function fromBytes({ bytes, digest }: { bytes: Uint8Array; digest: string }, isImmutable: boolean): PublishedFile {
  return { body: { bytes }, bytes: bytes.byteLength, digest, isImmutable };
}

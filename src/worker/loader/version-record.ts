import type { ChunkPlace } from '../../core/index.ts';
import type { LoaderContext } from './context.ts';
import type { ResolvedVersion } from './resolve.ts';

/**
 * Notes the files of a version and the time of their use.
 * @param isCommitted Whether all their chunks are here; a version is registered before, so that its chunks belong to someone.
 */
export async function recordVersion(
  { store, clock, isLocked }: LoaderContext,
  version: ResolvedVersion,
  files: readonly string[],
  chunks: readonly ChunkPlace[],
  isCommitted: boolean,
): Promise<void> {
  const { pin, manifest, manifestBytes } = version;
  const lock = isLocked?.(version) ? ('lock' as const) : undefined;
  const union = <T>(a: readonly T[] = [], b: readonly T[] = []) => [...new Set([...a, ...b])];
  await store.updateVersion(pin.digest, (known) => ({
    ...known,
    digest: pin.digest,
    name: manifest.name,
    version: pin.version,
    manifest: manifestBytes,
    wanted: union(known?.wanted, files),
    committed: isCommitted ? union(known?.committed, files) : (known?.committed ?? []).filter((path) => !files.includes(path)),
    chunks: [...new Map([...(known?.chunks ?? []), ...chunks.map(({ digest, bytes }) => [digest, bytes] as const)])],
    lastUsed: clock.now(),
    pin: known?.pin === 'application' ? known.pin : lock,
  }));
  if (!isCommitted || !lock) return;
  // The lock names one version of a model: what it named before may go.
  for (const { name, digest, pin: reason } of await store.listVersions()) {
    if (name !== manifest.name || digest === pin.digest || reason !== 'lock') continue;
    await store.updateVersion(digest, (known) => known && { ...known, pin: undefined });
  }
}

import type { ServableStore, VersionStatus } from '../servables/index.ts';

/** The versions of a model, newest first; none for a model that is configured and has no version yet. */
export function versionStatuses(servables: ServableStore, name: string): readonly VersionStatus[] {
  try {
    return servables.status({ name });
  } catch {
    return [];
  }
}

/** Numbers of the versions of a model that can answer, oldest first. */
export function availableVersions(servables: ServableStore, name: string): readonly string[] {
  const available = versionStatuses(servables, name).filter(({ state }) => state === 'AVAILABLE');
  return available.map(({ version }) => version).reverse();
}

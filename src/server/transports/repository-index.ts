import type { ServableState, ServableStore, VersionStatus } from '../servables/index.ts';
import { versionStatuses } from './version-statuses.ts';

/** One version in Triton's index of the model repository; a model without versions has an entry without a number. */
export interface RepositoryEntry {
  readonly name: string;
  readonly version?: string;
  readonly state?: 'READY' | 'LOADING' | 'UNLOADING' | 'UNAVAILABLE';
  readonly reason?: string;
}

const states = {
  UNKNOWN: 'UNAVAILABLE',
  START: 'LOADING',
  LOADING: 'LOADING',
  AVAILABLE: 'READY',
  UNLOADING: 'UNLOADING',
  END: 'UNAVAILABLE',
} as const satisfies Record<ServableState, RepositoryEntry['state']>;

/** Every model that is configured, loaded or not. */
export function repositoryIndex(servables: ServableStore, isReadyOnly: boolean): readonly RepositoryEntry[] {
  return servables.names().flatMap((name) => {
    const entries = [...versionStatuses(servables, name)].reverse().map((status) => entryOf(name, status));
    if (isReadyOnly) return entries.filter(({ state }) => state === 'READY');
    return entries.length > 0 ? entries : [{ name }];
  });
}

function entryOf(name: string, { version, state, errorMessage }: VersionStatus): RepositoryEntry {
  return { name, version, state: states[state], reason: errorMessage === '' && state === 'END' ? 'unloaded' : errorMessage };
}

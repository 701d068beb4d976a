import type { NearfarError, WorkerEvent } from '../../core/index.ts';
import type { Clock } from '../clock.ts';
import type { ChunkStore } from '../store/index.ts';
import type { Tabs } from '../tabs/index.ts';
import type { ResolvedVersion } from './resolve.ts';
import type { Slots } from './slots.ts';

/** What a load needs of its surroundings, passed in. */
export interface LoaderContext {
  readonly store: ChunkStore;
  /** Why the store is memory only, where the browser's storage was asked for. */
  readonly refusal?: NearfarError | undefined;
  /** The other workers of this origin: one of them downloads, and what any of them uses is not evicted. */
  readonly tabs: Tabs;
  /** Shared by all loads of this worker. */
  readonly slots: Slots;
  /** Whether the application's lock names this version: it is pinned then. */
  readonly isLocked?: ((version: ResolvedVersion) => boolean) | undefined;
  /** Tells this browser apart where versions are shared out among clients. */
  readonly clientKey: () => Promise<string>;
  readonly fetch: typeof fetch;
  readonly clock: Clock;
  readonly notify: (event: WorkerEvent) => void;
  readonly signal: AbortSignal;
}

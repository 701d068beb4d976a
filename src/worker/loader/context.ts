import type { NearfarError, WorkerEvent } from '../../core/index.ts';
import type { Clock } from '../clock.ts';
import type { ChunkStore } from '../store/index.ts';

/** What a load needs of its surroundings, passed in. */
export interface LoaderContext {
  readonly store: ChunkStore;
  /** Why the store is memory only, where the browser's storage was asked for. */
  readonly refusal?: NearfarError | undefined;
  readonly fetch: typeof fetch;
  readonly clock: Clock;
  readonly notify: (event: WorkerEvent) => void;
  readonly signal: AbortSignal;
  /** Whether a version, by its digest, is open or being loaded: it is not evicted. */
  readonly isProtected: (digest: string) => boolean;
}

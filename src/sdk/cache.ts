import type { BackendId, CacheReport, CacheVerification, PrefetchedVersion } from '../core/index.ts';
import type { DownloadMonitor } from './events.ts';

export interface PrefetchOptions {
  /** A positive int64 as a decimal string. */
  readonly version?: string | undefined;
  /** A movable name of a version, such as `stable` or `canary`. */
  readonly label?: string | undefined;
  /** Backends of the device, in this order: the first that this device can run says which files are needed. @default the client's */
  readonly backends?: readonly BackendId[] | undefined;
  /** Pins the version once it is here. @default false */
  readonly pin?: boolean | undefined;
  /** Receives `downloadprogress` and the events of the download, from before the first byte. */
  readonly monitor?: ((monitor: DownloadMonitor) => void) | undefined;
  /** Stops it; what has arrived stays for the next try. Rejects with `signal.reason`. */
  readonly signal?: AbortSignal | undefined;
}

/** The models this origin keeps in the browser, shared by its tabs. */
export interface ModelCache {
  /** What is kept, complete or not, and how much of the budget and of the browser's quota it takes, in bytes. */
  report(): Promise<CacheReport>;
  /** Reads every chunk and compares it with its digest; corrupt ones are listed and fetched again at the next open. */
  verify(): Promise<CacheVerification>;
  /**
   * Downloads and verifies what this device needs to open a version, without opening it. What an opening needs meanwhile goes first.
   * @throws {NearfarError} `quota-exceeded` with `details: { neededBytes, availableBytes }` when it cannot be kept,
   * `unavailable` where the browser keeps nothing, and what `open` throws of versions and downloads.
   */
  prefetch(name: string, options?: PrefetchOptions): Promise<PrefetchedVersion>;
  /**
   * Removes one version, pinned or not, and returns the bytes given back: chunks that other versions share stay. A model that
   * is open goes on.
   */
  evict(name: string, version: string): Promise<number>;
  /** Removes all versions of one model, or everything; returns the bytes given back. */
  clear(name?: string): Promise<number>;
  /**
   * Keeps a cached version when room is needed for another, in every tab and until it is unpinned or removed. Versions
   * that the lock names are pinned by themselves. @throws {NearfarError} `not-found` for a version that is not cached.
   */
  pin(name: string, version: string): Promise<void>;
  unpin(name: string, version: string): Promise<void>;
  /** Asks the browser to remove nothing of this origin on its own; it may ask the user. Returns whether it promised that. */
  persist(): Promise<boolean>;
}

/** Its code is loaded with its first use. */
export function createModelCache(use: <T>(work: (cache: ModelCache) => Promise<T>) => Promise<T>): ModelCache {
  return {
    report: () => use((cache) => cache.report()),
    verify: () => use((cache) => cache.verify()),
    prefetch: (name, options) => use((cache) => cache.prefetch(name, options)),
    evict: (name, version) => use((cache) => cache.evict(name, version)),
    clear: (name) => use((cache) => cache.clear(name)),
    pin: (name, version) => use((cache) => cache.pin(name, version)),
    unpin: (name, version) => use((cache) => cache.unpin(name, version)),
    persist: () => use((cache) => cache.persist()),
  };
}

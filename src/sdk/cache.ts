import type { Remote } from 'comlink';
import type { CacheReport, CacheVerification, DeviceWorkerApi } from '../core/index.ts';

/** The models this origin keeps in the browser. */
export interface ModelCache {
  /** What is kept, complete or not, and how much of the budget and of the browser's quota it takes, in bytes. */
  report(): Promise<CacheReport>;
  /** Reads every chunk and compares it with its digest; corrupt ones are listed and fetched again at the next open. */
  verify(): Promise<CacheVerification>;
  /** Removes all versions of one model, or everything. */
  clear(name?: string): Promise<void>;
}

/** Calls the device worker, which owns the cache. */
type CallDevice = <T>(invoke: (api: Remote<DeviceWorkerApi>) => Promise<T>) => Promise<T>;

export function createModelCache(call: CallDevice, budgetBytes: number): ModelCache {
  return {
    report: () => call((api) => api.cacheReport(budgetBytes)),
    verify: () => call((api) => api.verifyCache()),
    clear: (name) => call((api) => api.clearCache(name)),
  };
}

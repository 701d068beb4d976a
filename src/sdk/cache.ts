import type { CacheReport, CacheVerification, DeviceWorkerApi } from '../core/index.ts';
import type { Channel } from './channel.ts';

/** The models this origin keeps in the browser. */
export interface ModelCache {
  /** What is kept, complete or not, and how much of the budget and of the browser's quota it takes, in bytes. */
  report(): Promise<CacheReport>;
  /** Reads every chunk and compares it with its digest; corrupt ones are listed and fetched again at the next open. */
  verify(): Promise<CacheVerification>;
  /** Removes all versions of one model, or everything. */
  clear(name?: string): Promise<void>;
}

export function createModelCache(device: () => Channel<DeviceWorkerApi>, budgetBytes: number): ModelCache {
  return {
    report: async () => device().call((api) => api.cacheReport(budgetBytes)),
    verify: async () => device().call((api) => api.verifyCache()),
    clear: async (name) => device().call((api) => api.clearCache(name)),
  };
}

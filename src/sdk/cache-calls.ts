import { NearfarError } from '../core/index.ts';
import type { ModelCache, PrefetchOptions } from './cache.ts';
import { type EventHub, listen } from './events.ts';
import { type ModelRequest, type OpenContext, openRequestOf } from './open-model.ts';
import { settlingEvents } from './worker-events.ts';

export interface CacheContext extends Pick<OpenContext, 'options' | 'device'> {
  readonly requestOf: (name: string, options: PrefetchOptions) => ModelRequest;
  readonly hubOf: (name: string) => EventHub;
  /** The caller's signal, which the client's end aborts, too. */
  readonly joined: (signal: AbortSignal | undefined) => AbortSignal;
}

/** Calls the device worker, which owns the cache. */
export function openModelCache({ options, device, requestOf, hubOf, joined }: CacheContext): ModelCache {
  const pin = (name: string, version: string, isPinned: boolean) =>
    device.call((api) => api.pinVersion(name, checkVersion(version), isPinned));
  return {
    report: () => device.call((api) => api.cacheReport(options.cacheBudgetBytes)),
    verify: () => device.call((api) => api.verifyCache()),
    async prefetch(name, wanted = {}) {
      const { choice, backends } = requestOf(name, wanted);
      const hub = hubOf(name);
      wanted.monitor?.({ addEventListener: (type, listener, init) => listen(hub, type, listener, init) });
      const { repositories, lock, trust } = options;
      const request = { ...openRequestOf(options, { name, choice, repositories, lock, trust }), backends };
      const fetched = await device.call((api, callId) => api.prefetch(callId, request, settlingEvents(hub)), {
        signal: joined(wanted.signal),
      });
      if (wanted.pin) await pin(name, fetched.version, true);
      return fetched;
    },
    evict: (name, version) => device.call((api) => api.clearCache(name, checkVersion(version))),
    clear: (name) => device.call((api) => api.clearCache(name)),
    pin: (name, version) => pin(name, version, true),
    unpin: (name, version) => pin(name, version, false),
    // Only a page may ask; a worker is not trusted to.
    persist: async () => (await navigator.storage?.persist?.()) ?? false,
  };
}

/** Without a version a whole model would go. */
function checkVersion(version: string): string {
  if (typeof version === 'string' && version !== '') return version;
  throw new NearfarError('invalid-argument', 'version: expected the version of a model as a string');
}

import type { ServableState, ServingMetrics } from '../servables/index.ts';
import type { Change, History } from './entry.ts';

const server = { who: 'server', way: 'server' } as const;

/**
 * Writes down versions that load, fail to, or are unloaded, beside counting them. A version that fails is tried again for as long as it is
 * wanted: the first failure is written, and what it becomes.
 */
export function recordingVersions(
  metrics: ServingMetrics,
  history: Pick<History, 'record'>,
  folderOf: (model: string) => string | undefined,
): ServingMetrics {
  const failing = new Map<string, string>();
  const unloading = new Set<string>();
  const keyOf = (model: string, version: string) => `${model}/${version}`;
  const record = (action: 'load' | 'unload', model: string, rest: Omit<Change, keyof typeof server | 'action' | 'model'>) =>
    void history.record({ ...server, action, model, folder: folderOf(model), ...rest });
  const recordUnload = (model: string, version: string, state: ServableState) => {
    const key = keyOf(model, version);
    if (state === 'UNLOADING') unloading.add(key);
    else if (unloading.delete(key) && state === 'END') record('unload', model, { version, outcome: 'done' });
  };
  return {
    ...metrics,
    setState(model, version, state) {
      metrics.setState(model, version, state);
      recordUnload(model, version, state);
    },
    forgetVersion(model, version) {
      metrics.forgetVersion(model, version);
      failing.delete(keyOf(model, version));
    },
    forgetModel(model) {
      metrics.forgetModel(model);
      for (const known of [failing, unloading]) for (const key of known.keys()) if (key.startsWith(keyOf(model, ''))) known.delete(key);
    },
    recordLoad(load) {
      metrics.recordLoad(load);
      const { model, version, digest, backend, outcome, message } = load;
      const key = keyOf(model, version);
      if (outcome === 'loaded') {
        failing.delete(key);
        record('load', model, { version, to: { digest, backend }, outcome: 'done' });
      } else if (outcome === 'failed' && failing.get(key) !== message) {
        failing.set(key, message ?? '');
        record('load', model, { version, to: { digest }, outcome: 'failed', message });
      }
    },
  };
}

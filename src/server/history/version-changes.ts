import type { ServingMetrics } from '../servables/index.ts';
import type { History } from './entry.ts';

const server = { who: 'server', way: 'server' } as const;

/**
 * Writes down versions that load, fail to, or unload, beside counting them. A version that fails is tried again for as long as it is
 * wanted: the first failure is written, and what it becomes.
 */
export function recordingVersions(metrics: ServingMetrics, history: Pick<History, 'record'>): ServingMetrics {
  const failing = new Map<string, string>();
  const keyOf = (model: string, version: string) => `${model}/${version}`;
  return {
    ...metrics,
    setState(model, version, state) {
      metrics.setState(model, version, state);
      if (state === 'UNLOADING') history.record({ ...server, action: 'unload', model, version, outcome: 'done' });
    },
    forgetVersion(model, version) {
      metrics.forgetVersion(model, version);
      failing.delete(keyOf(model, version));
    },
    forgetModel(model) {
      metrics.forgetModel(model);
      for (const key of failing.keys()) if (key.startsWith(keyOf(model, ''))) failing.delete(key);
    },
    recordLoad(load) {
      metrics.recordLoad(load);
      const { model, version, digest, backend, outcome, message } = load;
      const key = keyOf(model, version);
      if (outcome === 'loaded') {
        failing.delete(key);
        history.record({ ...server, action: 'load', model, version, to: { digest, backend }, outcome: 'done' });
      } else if (outcome === 'failed' && failing.get(key) !== message) {
        failing.set(key, message ?? '');
        history.record({ ...server, action: 'load', model, version, to: { digest }, outcome: 'failed', message });
      }
    },
  };
}

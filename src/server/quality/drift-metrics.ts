import { Gauge, type Registry } from 'prom-client';
import type { DriftMonitors } from './drift.ts';

/** Classes with a series of their own, the most frequent ones. */
const mostClasses = 10;

/** What Prometheus is told of drift, made when it asks. */
export function addDriftMetrics(registry: Registry, drift: Pick<DriftMonitors, 'reportAll'>): void {
  const labels = ['model', 'version', 'signature', 'output'];
  const gauge = (name: string, help: string, more: readonly string[], collect: (self: Gauge) => void) =>
    new Gauge({
      name: `nearfar_drift_${name}`,
      help,
      labelNames: [...labels, ...more],
      registers: [registry],
      collect() {
        this.reset();
        collect(this);
      },
    });
  gauge('distance', 'How far the answers of now are from those of the reference.', ['of', 'measure'], (self) => {
    for (const { model, version, signature, output, distances } of drift.reportAll()) {
      for (const { of, measure, value } of distances) self.set({ model, version, signature, output, of, measure }, value);
    }
  });
  gauge('rows', 'Answers that were looked at, a sample of them.', [], (self) => {
    for (const { model, version, signature, output, rows } of drift.reportAll()) self.set({ model, version, signature, output }, rows);
  });
  gauge('class_share', 'Share of the answers of now in which a class came first, of the most frequent ones.', ['class'], (self) => {
    for (const { model, version, signature, output, present } of drift.reportAll()) {
      if (present?.kind !== 'classes') continue;
      for (const { name, share } of present.classes.slice(0, mostClasses))
        self.set({ model, version, signature, output, class: name }, share);
    }
  });
  gauge('mean', 'Mean of numbers of now; of vectors the length of their mean.', [], (self) => {
    for (const { model, version, signature, output, present } of drift.reportAll()) {
      if (present?.kind === 'numbers') self.set({ model, version, signature, output }, present.mean);
      if (present?.kind === 'vectors') self.set({ model, version, signature, output }, present.meanLength);
    }
  });
}

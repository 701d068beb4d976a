import type { Registry } from 'prom-client';

/**
 * What a metric counts, by its labels; of a histogram how often. Empty where there is none of that name. TensorFlow Serving's own names
 * have slashes where Prometheus has colons.
 */
export async function metricValues(registry: Registry, name: string): Promise<ReadonlyMap<string, number>> {
  const metric = registry.getSingleMetric(name.replaceAll('/', ':'));
  if (!metric) return new Map();
  const { values, type }: { values: readonly MetricValue[]; type: unknown } = await metric.get();
  const counted = String(type) === 'histogram' ? values.filter(({ metricName }) => metricName?.endsWith('_count')) : values;
  return new Map(counted.map(({ labels, value }) => [JSON.stringify(labels), value]));
}

interface MetricValue {
  readonly value: number;
  readonly labels: object;
  readonly metricName?: string;
}

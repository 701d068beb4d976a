import type { Registry } from 'prom-client';

/**
 * The sum of a metric over all its labels, of a histogram the number of what it has seen; undefined where there is none of that name.
 * TensorFlow Serving's own names have slashes where Prometheus has colons.
 */
export async function metricTotal(registry: Registry, name: string): Promise<number | undefined> {
  const metric = registry.getSingleMetric(name.replaceAll('/', ':'));
  if (!metric) return undefined;
  const { values, type }: { values: readonly { readonly value: number; readonly metricName?: string }[]; type: unknown } =
    await metric.get();
  const counted = String(type) === 'histogram' ? values.filter(({ metricName }) => metricName?.endsWith('_count')) : values;
  return counted.reduce((sum, { value }) => sum + value, 0);
}

import { readFileSync } from 'node:fs';
import { MonitoringConfigSchema, NearfarError, parseTextMessage } from '../core/index.ts';

/** Under our name and under TensorFlow Serving's. */
export const defaultMetricsPaths: readonly string[] = ['/metrics', '/monitoring/prometheus/metrics'];

/**
 * Where a MonitoringConfig in text form puts the page for Prometheus: nowhere unless it is enabled, and at one path where it names one.
 * @throws {NearfarError} `not-found` when the file cannot be read; `invalid-argument`.
 */
export function readMonitoringConfig(file: string): readonly string[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new NearfarError(
      'not-found',
      `--monitoring_config_file: cannot read ${file}: ${cause instanceof Error ? cause.message : cause}`,
      {
        cause,
      },
    );
  }
  const { enable = false, path = '' } = parseTextMessage(MonitoringConfigSchema, text, { file }).prometheusConfig ?? {};
  if (!enable) return [];
  if (path === '') return defaultMetricsPaths;
  // `:` and `*` would be wildcards of the router.
  if (/^\/[^?#:*\s]*$/.test(path)) return [path];
  throw new NearfarError('invalid-argument', `${file}: prometheus_config.path begins with / and has none of ?#:*, got "${path}"`, {
    details: { file, path },
  });
}

import type { LegTiming } from '../../core/index.ts';

/** The durations of a `Server-Timing` header by our names; 0 for what it does not say. */
export function parseServerTiming(header: string | null): LegTiming {
  const durations = new Map<string, number>();
  for (const metric of header?.split(',') ?? []) {
    const [, name, duration] = /^\s*([\w-]+)\s*;.*?\bdur=([\d.]+)/.exec(metric) ?? [];
    if (name !== undefined) durations.set(name, Number(duration));
  }
  const of = (name: string) => durations.get(name) ?? 0;
  return { queueMs: of('queue'), preprocessMs: of('preprocess'), inferMs: of('infer'), postprocessMs: of('postprocess') };
}

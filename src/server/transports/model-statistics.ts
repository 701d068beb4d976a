import type { DurationStatistic, VersionStatistics } from '../statistics.ts';
import type { TransportContext } from './context.ts';
import { versionOrLabel } from './model-spec.ts';
import { availableVersions } from './version-statuses.ts';

/**
 * Triton's statistics extension, as its JSON has it: of one version, of all versions of a model, or of all models.
 * @param name Empty for all models.
 * @param version Number or label; empty for all versions.
 * @throws {NearfarError} `not-found` for a model or a version that cannot answer.
 */
export function modelStatistics({ servables, statistics }: TransportContext, name: string, version: string) {
  const all = (model: string) => availableVersions(servables, model).map((number) => describe(model, number, statistics.of(model, number)));
  if (name === '') return { model_stats: servables.names().flatMap(all) };
  using handle = servables.lend({ name, ...versionOrLabel(version) });
  return { model_stats: version === '' ? all(name) : [describe(name, handle.version, statistics.of(name, handle.version))] };
}

function describe(name: string, version: string, statistics: VersionStatistics) {
  return {
    name,
    version,
    last_inference: statistics.lastInferenceAt,
    inference_count: statistics.inferenceCount,
    execution_count: statistics.executionCount,
    inference_stats: {
      success: duration(statistics.success),
      fail: duration(statistics.fail),
      queue: duration(statistics.queue),
      compute_input: duration(statistics.computeInput),
      compute_infer: duration(statistics.computeInfer),
      compute_output: duration(statistics.computeOutput),
      cache_hit: duration(statistics.cacheHit),
      cache_miss: duration(statistics.cacheMiss),
    },
    batch_stats: statistics.batches.map(({ size, computeInput, computeInfer, computeOutput }) => ({
      batch_size: size,
      compute_input: duration(computeInput),
      compute_infer: duration(computeInfer),
      compute_output: duration(computeOutput),
    })),
    memory_usage: [],
  };
}

function duration({ count, ms }: DurationStatistic) {
  return { count, ns: Math.round(ms * 1e6) };
}

import { resolve, sep } from 'node:path';
import { type LoggingConfig, NearfarError } from '../../core/index.ts';

/** What is logged of one model. */
export interface ModelLogging {
  /** Path that the names of its files begin with. */
  readonly prefix: string;
  /** Share of its requests, 0 to 1. */
  readonly samplingRate: number;
}

/**
 * What a model's `logging_config` asks for; undefined when that is nothing.
 * @param directory The one folder that logs are written to.
 * @throws {NearfarError} `invalid-argument`, `unsupported` for a collector that is not ours, `failed-precondition` without a folder.
 */
export function resolveLogging(model: string, config: LoggingConfig | undefined, directory: string | undefined): ModelLogging | undefined {
  const collector = config?.logCollectorConfig;
  if (!config || !collector) return undefined;
  const details = { model };
  if (collector.type !== '' && collector.type !== 'file') {
    throw new NearfarError('unsupported', `${model}: Cannot find LogCollector::Factory for type: ${collector.type}; there is "file"`, {
      details,
    });
  }
  const samplingRate = config.samplingConfig?.samplingRate ?? 0;
  if (!(samplingRate >= 0 && samplingRate <= 1)) {
    throw new NearfarError('invalid-argument', `${model}: sampling_rate is from 0 to 1, got ${samplingRate}`, { details });
  }
  if (directory === undefined) {
    throw new NearfarError(
      'failed-precondition',
      `${model}: its logging_config needs --request_log_dir, the folder that logs are written to`,
      {
        details,
      },
    );
  }
  const folder = resolve(directory);
  const prefix = resolve(folder, collector.filenamePrefix);
  // A config can come over the network: it chooses names in this folder and nothing outside of it.
  if (!prefix.startsWith(folder + sep) || /[/\\]$|\0/.test(collector.filenamePrefix)) {
    throw new NearfarError('invalid-argument', `${model}: filename_prefix is a path in ${folder}, got "${collector.filenamePrefix}"`, {
      details,
    });
  }
  return { prefix, samplingRate };
}

import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { type BatchingParameters, BatchingParametersSchema, NearfarError, parseTextMessage } from '../../core/index.ts';
import type { Batching, BatchingOptions } from '../model-options.ts';

/** TensorFlow Serving's defaults. */
export const defaultBatchingOptions: BatchingOptions = {
  maxBatchSize: 1000,
  batchTimeoutMicros: 0,
  maxEnqueuedBatches: 10,
  numBatchThreads: availableParallelism(),
  allowedBatchSizes: [],
  padVariableLengthInputs: false,
  enableLargeBatchSplitting: false,
  maxExecutionBatchSize: 1000,
  threadPoolName: '',
};

interface BatchingFlags {
  /** `--enable_batching`. */
  readonly isEnabled: boolean;
  /** `--batching_parameters_file`. */
  readonly parametersFile: string | undefined;
  /** `--batching_p99_target_ms`, our own: it turns batching on by itself, and chooses its parameters. */
  readonly p99TargetMs: number | undefined;
}

/**
 * How the flags ask for batching.
 * @throws {NearfarError} `invalid-argument` for flags that contradict each other and files that cannot be read; `not-found`.
 */
export function resolveBatching({ isEnabled, parametersFile, p99TargetMs }: BatchingFlags): Batching {
  if (p99TargetMs !== undefined && parametersFile !== undefined) {
    throw new NearfarError('invalid-argument', '--batching_p99_target_ms chooses what --batching_parameters_file sets: give one of them');
  }
  if (p99TargetMs !== undefined) return { kind: 'auto', p99TargetMs };
  if (!isEnabled && parametersFile !== undefined) {
    throw new NearfarError(
      'invalid-argument',
      'server_options.batching_parameters_file is set without setting server_options.enable_batching to true.',
    );
  }
  if (!isEnabled) return 'off';
  // The name that TensorFlow Serving gives where no file gives one.
  if (parametersFile === undefined)
    return { kind: 'fixed', options: { ...defaultBatchingOptions, threadPoolName: 'model_server_batch_threads' } };
  return { kind: 'fixed', options: parseBatchingParameters(readParameters(parametersFile), parametersFile) };
}

function readParameters(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    const message = `--batching_parameters_file: cannot read ${path}: ${cause instanceof Error ? cause.message : cause}`;
    throw new NearfarError('not-found', message, { cause });
  }
}

/**
 * Reads BatchingParameters in text form.
 * @param file Where the text comes from, for errors.
 * @throws {NearfarError} `invalid-argument`.
 */
export function parseBatchingParameters(text: string, file: string): BatchingOptions {
  return toBatchingOptions(parseTextMessage(BatchingParametersSchema, text, { file }), file);
}

/**
 * Fills what is not given with TensorFlow Serving's defaults.
 * @param where Named in errors.
 * @throws {NearfarError} `invalid-argument` for sizes that are out of range, or do not fit together, with TensorFlow Serving's texts.
 */
export function toBatchingOptions(given: BatchingParameters, where: string): BatchingOptions {
  const number = (name: string, value: bigint | undefined, fallback: number, least = 1): number => {
    if (value === undefined) return fallback;
    if (value >= least && value <= Number.MAX_SAFE_INTEGER) return Number(value);
    throw invalid(where, `${name} expects a whole number of at least ${least}, got ${value}`);
  };
  const maxBatchSize = number('max_batch_size', given.maxBatchSize, defaultBatchingOptions.maxBatchSize);
  const options: BatchingOptions = {
    maxBatchSize,
    batchTimeoutMicros: number('batch_timeout_micros', given.batchTimeoutMicros, defaultBatchingOptions.batchTimeoutMicros, 0),
    maxEnqueuedBatches: number('max_enqueued_batches', given.maxEnqueuedBatches, defaultBatchingOptions.maxEnqueuedBatches),
    numBatchThreads: number('num_batch_threads', given.numBatchThreads, defaultBatchingOptions.numBatchThreads),
    allowedBatchSizes: given.allowedBatchSizes.map((size) => number('allowed_batch_sizes', size, maxBatchSize)),
    padVariableLengthInputs: given.padVariableLengthInputs,
    enableLargeBatchSplitting: given.enableLargeBatchSplitting ?? false,
    maxExecutionBatchSize: number('max_execution_batch_size', given.maxExecutionBatchSize, maxBatchSize),
    threadPoolName: given.threadPoolName ?? '',
  };
  assertConsistent(options, where);
  return options;
}

function assertConsistent(options: BatchingOptions, where: string): void {
  const { maxBatchSize, maxExecutionBatchSize, enableLargeBatchSplitting, allowedBatchSizes } = options;
  if (enableLargeBatchSplitting && maxExecutionBatchSize > maxBatchSize) {
    throw invalid(
      where,
      `When enable_large_batch_splitting is true, max_execution_batch_size should be less than or equal to max_batch_size; got ${maxExecutionBatchSize} and ${maxBatchSize}`,
    );
  }
  if (allowedBatchSizes.some((size, index) => index > 0 && size <= (allowedBatchSizes[index - 1] ?? 0))) {
    throw invalid(where, 'allowed_batch_sizes entries must be monotonically increasing');
  }
  const last = allowedBatchSizes.at(-1);
  const fits = last === undefined || last === maxBatchSize || (enableLargeBatchSplitting && last === maxExecutionBatchSize);
  if (fits) return;
  throw invalid(where, `Last entry in allowed_batch_sizes must match max_batch_size; last entry was ${last}; expected ${maxBatchSize}`);
}

function invalid(where: string, message: string): NearfarError {
  return new NearfarError('invalid-argument', `${where}: ${message}`);
}

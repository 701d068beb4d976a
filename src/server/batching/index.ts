export { defaultBatchingOptions, resolveBatching, toBatchingOptions } from './parameters.ts';
export { createVersionBatching } from './version-files.ts';
export { type BatchingMetrics, type BatchingReport, withBatching } from './with-batching.ts';

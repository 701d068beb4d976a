export { defaultBatchingOptions, parseBatchingParameters, toBatchingOptions } from './parameters.ts';
export { readVersionBatching } from './version-files.ts';
export { type BatchingMetrics, type BatchingReport, type BatchingStore, withBatching } from './with-batching.ts';

export { type AskOptions, askJson, askServer, pathOf, toNearfarError } from './ask.ts';
export { type Connection, followServer, type Live } from './live.ts';
export type { BatchingRow, HistoryEntry, ModelSummary, ReportRow, VersionState, VersionSummary } from './shapes.ts';
export { type Asked, useAsked } from './use-asked.ts';

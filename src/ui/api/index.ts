export { askJson, pathOf, toNearfarError } from './ask.ts';
export { followServer, type Live } from './live.ts';
export type { BatchingRow, HistoryEntry, ModelSummary, ReportRow, VersionSummary } from './shapes.ts';
export { useAsked } from './use-asked.ts';

export { askJson, askServer, pathOf, toNearfarError } from './ask.ts';
export { followServer, type Live } from './live.ts';
export { type Login, openLogin } from './session.ts';
export type { BatchingRow, ChartPoint, FailureEntry, HistoryEntry, ModelSummary, ReportRow, VersionSummary } from './shapes.ts';
export { useAsked } from './use-asked.ts';

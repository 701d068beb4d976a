export type { Actor, Change, ChangeAction, ChangeWay, History, HistoryEntry } from './entry.ts';
export { labelBefore } from './label-before.ts';
export { createMemoryHistory } from './memory-history.ts';
export { modelChanges, type Settings } from './model-changes.ts';
export { recordingPending } from './pending-versions.ts';
export { openPostgresHistory } from './postgres-history.ts';
export { type Refusals, recordingRefusals } from './refusals.ts';
export { openSqliteHistory } from './sqlite-history.ts';
export { recordingVersions } from './version-changes.ts';

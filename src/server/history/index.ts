export type { Actor, Change, ChangeWay, History } from './entry.ts';
export { labelBefore } from './label-before.ts';
export { createMemoryHistory } from './memory-history.ts';
export { modelChanges, type Settings } from './model-changes.ts';
export { openSqliteHistory } from './sqlite-history.ts';
export { recordingVersions } from './version-changes.ts';

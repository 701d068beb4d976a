export { ComparePage } from './compare.tsx';
export { FailuresPage } from './failures.tsx';
export { FleetPage } from './fleet.tsx';
export { HistoryPage } from './history.tsx';
export { ModelPage } from './model.tsx';
export { ModelsPage } from './models.tsx';
export { TryPage } from './try.tsx';
export { VersionPage } from './version.tsx';

export { FailuresPage } from './failures.tsx';
export { FleetPage } from './fleet.tsx';
export { HistoryPage } from './history.tsx';
export { ModelPage } from './model.tsx';
export { ModelsPage } from './models.tsx';
export { VersionPage } from './version.tsx';

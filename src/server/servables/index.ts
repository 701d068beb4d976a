export { EngineHost } from './engine-host.ts';
export { InlineRuns } from './inline-runs.ts';
export { type JoinedRun, joinRuns, withJoinedSignatures } from './joined-signatures.ts';
export {
  type CacheOutcome,
  type Ran,
  type ServableFallback,
  type ServableHandle,
  type ServableSpec,
  type ServableState,
  type ServableStore,
  type ServableTiming,
  servableStates,
  type VersionStatus,
} from './servable.ts';
export { type LoadedVersion, platformOf, type ServingMetrics } from './servable-version.ts';
export { Servables } from './store.ts';

export { parseBody, rulesSchema, shadowOf, shadowSchema, shadowVersion } from './plan.ts';
export { RequestTallies } from './request-tallies.ts';
export { Rollouts } from './rollouts.ts';
export { type ShadowMetrics, ShadowRuns } from './shadow-runs.ts';

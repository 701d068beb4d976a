export { type ChartPoint, Charts, chartStepMs, isServerFault } from './charts.ts';
export { parsePlace, type Watcher } from './event-feed.ts';
export { Failures } from './failures.ts';
export { createInsights, type Insights } from './insights.ts';

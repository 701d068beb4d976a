import type { History } from '../history/index.ts';
import { Charts, type ChartsOptions } from './charts.ts';
import { EventFeed } from './event-feed.ts';
import { Failures } from './failures.ts';

/** What the management page shows beside the models, and tells as it happens. */
export interface Insights extends Disposable {
  readonly charts: Charts;
  readonly failures: Failures;
  readonly feed: EventFeed;
}

export interface InsightsOptions {
  /** Requests that are taken and not answered. */
  readonly inFlight: () => number;
  /** What the server serves, as `GET /nearfar/v1/models` answers. */
  readonly models: () => object;
  readonly history: Pick<History, 'list'>;
}

export function createInsights({ inFlight, models, history }: InsightsOptions): Insights {
  const now = () => Date.now();
  const sample: ChartsOptions['sample'] = () => ({ inFlight: inFlight(), memoryBytes: process.memoryUsage.rss() });
  const charts = new Charts({ sample, now });
  const failures = new Failures(now);
  const feed = new EventFeed({
    models,
    charts: () => ({ charts: charts.newest() }),
    history: () => history.list(),
    failures: () => failures.list(),
  });
  failures.watch(() => feed.changed());
  charts.watch(() => feed.charted());
  return {
    charts,
    failures,
    feed,
    [Symbol.dispose]() {
      feed[Symbol.dispose]();
      charts[Symbol.dispose]();
    },
  };
}

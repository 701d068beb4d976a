import type { History, HistoryEntry } from '../history/index.ts';
import { Charts, type ChartsOptions } from './charts.ts';
import { EventFeed } from './event-feed.ts';
import { Failures } from './failures.ts';

/** What the management page shows beside the models, and tells as it happens. */
export interface Insights extends Disposable {
  readonly charts: Charts;
  readonly failures: Failures;
  readonly feed: EventFeed;
  /** Begins to draw the charts; what is made for a server that then does not start has nothing that runs. */
  start(): void;
}

export interface InsightsOptions {
  /** Requests that are taken and not answered. */
  readonly inFlight: () => number;
  /** What the server serves, as `GET /nearfar/v1/models` answers. */
  readonly models: () => object;
  readonly history: Pick<History, 'list' | 'watch'>;
}

/** Of the history the newest are at hand, for those who watch. */
const mostEntries = 100;

export async function createInsights({ inFlight, models, history }: InsightsOptions): Promise<Insights> {
  const now = () => Date.now();
  const sample: ChartsOptions['sample'] = () => ({ inFlight: inFlight(), memoryBytes: process.memoryUsage.rss() });
  const charts = new Charts({ sample, now });
  const failures = new Failures(now);
  let entries: readonly HistoryEntry[] = await history.list({ limit: mostEntries }).catch(() => []);
  const feed = new EventFeed({
    models,
    charts: () => ({ charts: charts.newest() }),
    history: () => entries,
    failures: () => failures.list(),
  });
  const watching = history.watch((entry) => {
    entries = [entry, ...entries].slice(0, mostEntries);
    feed.changed();
  });
  failures.watch(() => feed.changed());
  charts.watch(() => feed.charted());
  return {
    charts,
    failures,
    feed,
    start: () => charts.start(),
    [Symbol.dispose]() {
      watching[Symbol.dispose]();
      feed[Symbol.dispose]();
      charts[Symbol.dispose]();
    },
  };
}

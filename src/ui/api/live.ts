import { type ReadonlySignal, signal } from '@preact/signals';
import { NearfarError } from '../../core/index.ts';
import { askJson, toNearfarError } from './ask.ts';
import type { ChartPoint, ModelSummary } from './shapes.ts';

/** Whether what the page shows is what the server says now. */
export type Connection =
  | { readonly state: 'connecting' }
  | { readonly state: 'live' }
  /** By looking again and again: who may not change what is served is not told what changes. */
  | { readonly state: 'polling' }
  | { readonly state: 'lost'; readonly since: Date; readonly error: NearfarError };

/** The newest point of a chart: of the server, of a model or of a version. */
export interface NewPoint {
  readonly model?: string;
  readonly version?: string;
  readonly point: ChartPoint;
}

/** What the server tells by itself. */
export interface Live {
  /** Undefined until the server has said it. */
  readonly models: ReadonlySignal<readonly ModelSummary[] | undefined>;
  readonly connection: ReadonlySignal<Connection>;
  readonly points: ReadonlySignal<readonly NewPoint[]>;
  /** Grow with each new entry of the history and each new failure. */
  readonly changes: ReadonlySignal<number>;
  readonly failures: ReadonlySignal<number>;
  /** Asks what is served now: after a change of one's own, which may be told later than it is answered. */
  refresh(): Promise<void>;
}

const againMs = 2_000;

/**
 * Follows the server as long as the page is there: by its events, or where these are refused by asking every two seconds.
 * @param onRefused What to do where nobody is logged in.
 */
export function followServer(onRefused: (error: NearfarError) => void): Live {
  const models = signal<readonly ModelSummary[] | undefined>(undefined);
  const connection = signal<Connection>({ state: 'connecting' });
  const points = signal<readonly NewPoint[]>([]);
  const changes = signal(0);
  const failures = signal(0);
  const lose = (error: NearfarError) => {
    const { value } = connection;
    connection.value = { state: 'lost', since: value.state === 'lost' ? value.since : new Date(), error };
  };
  const listen = () => {
    const events = new EventSource('/nearfar/v1/events');
    const on = <T>(name: string, take: (data: T) => void) =>
      events.addEventListener(name, ({ data }: MessageEvent<string>) => {
        connection.value = { state: 'live' };
        take(JSON.parse(data));
      });
    on<{ models: ModelSummary[] }>('models', (data) => (models.value = data.models));
    on<{ charts: NewPoint[] }>('charts', (data) => (points.value = data.charts));
    on('history', () => (changes.value += 1));
    on('failure', () => (failures.value += 1));
    events.onerror = () => {
      // The browser comes back by itself, but where the answer was no stream; that one says no reason either.
      if (events.readyState !== EventSource.CLOSED) return lose(new NearfarError('network', 'the server cannot be reached'));
      void poll();
    };
  };
  const refresh = async () => {
    const { models: found } = await askJson<{ models: ModelSummary[] }>('/nearfar/v1/models');
    // Only what is new: views ask again for what hangs on it.
    if (JSON.stringify(found) !== JSON.stringify(models.value)) models.value = found;
  };
  const poll = async () => {
    try {
      await refresh();
      const wasLost = connection.value.state === 'lost';
      connection.value = { state: 'polling' };
      // What ended the stream may have passed.
      if (wasLost) return listen();
    } catch (cause) {
      const error = toNearfarError(cause);
      lose(error);
      if (error.code === 'unauthenticated') return onRefused(error);
    }
    setTimeout(() => void poll(), againMs);
  };
  listen();
  return { models, connection, points, changes, failures, refresh };
}

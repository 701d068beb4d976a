import { NearfarError } from '../../core/index.ts';

/** What is sent to those who watch, as Server-Sent Events. */
export type FeedEvent = 'models' | 'history' | 'charts' | 'failure';

/** The last history entry and the last failure that a watcher knows; Server-Sent Events carry it as their id. */
export interface Place {
  readonly history: number;
  readonly failure: number;
}

/** Where events go. */
export interface Watcher {
  /** @returns false when it does not read: it is let go, and may come back. */
  send(event: FeedEvent, data: object, id: string): boolean;
  /** A sign of life, which keeps proxies from ending the connection. */
  beat(): void;
  end(): void;
}

interface Entry {
  readonly id: number;
}

export interface FeedSources {
  /** What the server serves. */
  readonly models: () => object;
  /** The newest point of each chart. */
  readonly charts: () => object;
  /** Newest first. */
  readonly history: () => readonly Entry[];
  readonly failures: () => readonly Entry[];
}

const mostWatchers = 64;
const beatMs = 15_000;
/** States change in bursts, as when a version takes over from another one. */
const settleMs = 50;

/** Tells watchers what changes on the server, as it does. */
export class EventFeed implements Disposable {
  readonly #sources: FeedSources;
  readonly #watchers = new Map<Watcher, Place>();
  readonly #timer: NodeJS.Timeout;
  #settling: NodeJS.Timeout | undefined;
  #lastModels = '';
  #isClosed = false;

  constructor(sources: FeedSources) {
    this.#sources = sources;
    this.#timer = setInterval(() => this.#each((watcher) => watcher.beat()), beatMs);
    this.#timer.unref();
  }

  /**
   * Sends what is served and the charts as they are, what was missed since `from`, and from then on what changes.
   * @throws {NearfarError} `overloaded` when there are as many watchers as the server takes; `unavailable` when it closes.
   */
  add(watcher: Watcher, from: Place | undefined): void {
    if (this.#isClosed) throw new NearfarError('unavailable', 'the server is closing');
    if (this.#watchers.size >= mostWatchers) {
      throw new NearfarError('overloaded', `${mostWatchers} watch the server already`, { details: { limit: mostWatchers } });
    }
    this.#watchers.set(watcher, from ?? this.#now());
    this.#sendNew(watcher);
    this.#send(watcher, 'models', this.#sources.models());
    this.#send(watcher, 'charts', this.#sources.charts());
  }

  remove(watcher: Watcher): void {
    this.#watchers.delete(watcher);
  }

  /** Something about the models may have changed, or there is a new entry or failure: it is looked at in a moment. */
  changed(): void {
    if (this.#settling || this.#watchers.size === 0) return;
    this.#settling = setTimeout(() => {
      this.#settling = undefined;
      this.#each((watcher) => this.#sendNew(watcher));
      const models = this.#sources.models();
      const text = JSON.stringify(models);
      if (text === this.#lastModels) return;
      this.#lastModels = text;
      this.#each((watcher) => this.#send(watcher, 'models', models));
    }, settleMs);
  }

  /** A step of the charts has ended. */
  charted(): void {
    if (this.#watchers.size === 0) return;
    const charts = this.#sources.charts();
    this.#each((watcher) => this.#send(watcher, 'charts', charts));
    // What nobody told of, such as labels that a file names, is seen now.
    this.changed();
  }

  /** Lets all watchers go, so that the server can close. */
  [Symbol.dispose](): void {
    this.#isClosed = true;
    clearInterval(this.#timer);
    clearTimeout(this.#settling);
    this.#each((watcher) => watcher.end());
    this.#watchers.clear();
  }

  #now(): Place {
    return { history: this.#sources.history()[0]?.id ?? 0, failure: this.#sources.failures()[0]?.id ?? 0 };
  }

  /** The entries and failures that a watcher does not know yet, oldest first. */
  #sendNew(watcher: Watcher): void {
    for (const [event, field, entries] of [
      ['history', 'history', this.#sources.history()],
      ['failure', 'failure', this.#sources.failures()],
    ] as const) {
      for (const entry of entries.filter(({ id }) => id > (this.#watchers.get(watcher)?.[field] ?? Number.POSITIVE_INFINITY)).reverse()) {
        this.#watchers.set(watcher, { ...this.#watchers.get(watcher)!, [field]: entry.id });
        this.#send(watcher, event, entry);
      }
    }
  }

  #send(watcher: Watcher, event: FeedEvent, data: object): void {
    const place = this.#watchers.get(watcher);
    if (!place || watcher.send(event, data, `${place.history}.${place.failure}`)) return;
    this.#watchers.delete(watcher);
    watcher.end();
  }

  #each(work: (watcher: Watcher) => void): void {
    for (const watcher of [...this.#watchers.keys()]) work(watcher);
  }
}

/** @returns undefined for none, or for an id of another kind. */
export function parsePlace(id: string | undefined): Place | undefined {
  const [, history, failure] = /^(\d{1,15})\.(\d{1,15})$/.exec(id ?? '') ?? [];
  return history === undefined ? undefined : { history: Number(history), failure: Number(failure) };
}

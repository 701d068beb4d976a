import type { Leg, NearfarErrorCode, WorkerEvent } from '../core/index.ts';
import type { RunReport } from './run-report.ts';

/** What every event says: which model it is about and why it happened, in a sentence for people. */
export interface EventDetail {
  readonly model: string;
  readonly reason: string;
}

type DetailOf<T extends WorkerEvent['type']> = EventDetail & Omit<Extract<WorkerEvent, { type: T }>, 'type'>;

/** The events of client and model, with what their `detail` holds beside `model` and `reason`. */
export interface EventDetails {
  /** The device leg reached `download`, `verify`, `compile`, `warm-up` or `ready`. */
  phase: DetailOf<'phase'>;
  /** A call or the opening went on with another leg or backend than the preferred one. */
  fallback: EventDetail & { readonly from: string; readonly to?: string; readonly code: NearfarErrorCode; readonly message: string };
  /** A request to a repository or an opening is tried again, or a server did not answer and the next one did. */
  retry: EventDetail & { readonly url?: string; readonly attempt: number; readonly code: NearfarErrorCode; readonly message: string };
  /** From now on calls are answered by another leg first. */
  switch: EventDetail & { readonly from: Leg; readonly to: Leg };
  /** A chunk did not match its digest. */
  integrity: DetailOf<'integrity'>;
  /** The device leg lost its GPU, or its worker crashed or hung. */
  'device-lost': EventDetail & { readonly backend?: string; readonly message: string };
  /** A version was removed to make room: from the cache, or from memory alone, into which its next call loads it again. */
  eviction: DetailOf<'eviction'>;
  /** The browser would not store the model. */
  quota: DetailOf<'quota'>;
  /** The version was settled, or a server answered with another one. */
  version: EventDetail & { readonly version: string; readonly digest: string };
  /** A call was answered. */
  run: EventDetail & { readonly run: RunReport };
}

export type NearfarEvent<K extends keyof EventDetails> = CustomEvent<EventDetails[K]>;

/** The events that `monitor` can listen to: those of the model, and the platform's `downloadprogress`. */
export type MonitorEvents = { readonly [K in keyof EventDetails]: NearfarEvent<K> } & { readonly downloadprogress: DownloadProgressEvent };

/** What `monitor` receives. */
export interface DownloadMonitor {
  addEventListener<K extends keyof MonitorEvents>(
    type: K,
    listener: (event: MonitorEvents[K]) => void,
    options?: AddEventListenerOptions,
  ): void;
}

/** As the platform's: `loaded` is a fraction from 0 to 1 and `total` is 1; real bytes, decoded, are beside them. */
export class DownloadProgressEvent extends Event {
  readonly lengthComputable = true;
  readonly loaded: number;
  readonly total = 1;
  readonly loadedBytes: number;
  readonly totalBytes: number;

  constructor({ loadedBytes, totalBytes }: { loadedBytes: number; totalBytes: number }) {
    super('downloadprogress');
    this.loaded = totalBytes > 0 ? loadedBytes / totalBytes : 1;
    this.loadedBytes = loadedBytes;
    this.totalBytes = totalBytes;
  }
}

/** An event target with the events of nearfar. */
export interface NearfarEventTarget {
  addEventListener<K extends keyof EventDetails>(
    type: K,
    listener: (event: NearfarEvent<K>) => void,
    options?: AddEventListenerOptions | boolean,
  ): void;
  removeEventListener<K extends keyof EventDetails>(
    type: K,
    listener: (event: NearfarEvent<K>) => void,
    options?: EventListenerOptions | boolean,
  ): void;
}

/** Hands events to the listeners of a model, then to those of its client. */
export class EventHub extends EventTarget {
  readonly #model: string;
  readonly #client: EventTarget;

  constructor(model: string, client: EventTarget) {
    super();
    this.#model = model;
    this.#client = client;
  }

  emit<K extends keyof EventDetails>(type: K, detail: Omit<EventDetails[K], 'model'>): void {
    const init = { detail: { model: this.#model, ...detail } };
    this.dispatchEvent(new CustomEvent(type, init));
    this.#client.dispatchEvent(new CustomEvent(type, init));
  }

  progress(loadedBytes: number, totalBytes: number): void {
    this.dispatchEvent(new DownloadProgressEvent({ loadedBytes, totalBytes }));
  }
}

/**
 * Listens to the events of nearfar on a plain event target. The DOM's types know no events of ours by name; what is
 * dispatched under these names is always made by {@link EventHub}.
 */
export function listen<E extends Event>(
  target: EventTarget,
  type: string,
  listener: (event: E) => void,
  options?: AddEventListenerOptions | boolean,
): void {
  target.addEventListener(type, listener as EventListener, options);
}

/** The inverse of {@link listen}. */
export function unlisten<E extends Event>(
  target: EventTarget,
  type: string,
  listener: (event: E) => void,
  options?: EventListenerOptions | boolean,
): void {
  target.removeEventListener(type, listener as EventListener, options);
}

/** The way a change came to the server. */
export type ChangeWay = 'REST' | 'gRPC' | 'config-file' | 'versions.json' | 'server';

/** Who asks for a change. */
export interface Actor {
  /** The address of a client, the path of a file; `server` for what the server does by itself. */
  readonly who: string;
  readonly way: ChangeWay;
}

/**
 * What is done: `add`, `change` and `remove` are of a model's configuration, or of its versions.json; `load` and `unload` of a version;
 * `start` and `stop` of the server; `refuse` of a call that was not taken, `rollout` a decision about one.
 */
export type ChangeAction = 'add' | 'change' | 'remove' | 'load' | 'unload' | 'start' | 'stop' | 'refuse' | 'rollout';

/** One change, before it has its place in the log. */
export interface Change extends Actor {
  readonly action: ChangeAction;
  /** Empty for what is about no model. */
  readonly model: string;
  /** The model's folder, which tells models of one name apart where servers share a log. */
  readonly folder?: string | undefined;
  readonly version?: string | undefined;
  /** What differs, as it was and as it is to be; only the settings that are not the same. */
  readonly from?: object | undefined;
  readonly to?: object | undefined;
  readonly outcome: 'done' | 'failed';
  /** Why it failed, or what is worth knowing of it. */
  readonly message?: string | undefined;
}

/** A change as it is written down. */
export interface StampedChange extends Change {
  /** ISO 8601, in UTC. */
  readonly at: string;
  /** The server that made the change, where several share a log: its host and port. */
  readonly server: string;
}

/** One line of the log; what wrote it may be a later nearfar, which knows other ways and actions. */
export interface HistoryEntry extends Omit<StampedChange, 'way' | 'action' | 'outcome'> {
  /** Grows with each entry. */
  readonly id: number;
  readonly way: string;
  readonly action: string;
  readonly outcome: string;
}

/** Which entries are wanted, newest first. */
export interface HistoryQuery {
  /** Of this model alone. */
  readonly model?: string | undefined;
  /** Of models in this folder alone. */
  readonly folder?: string | undefined;
  /** Older than the entry with this id. */
  readonly before?: number | undefined;
  /** At most so many. @default 100 */
  readonly limit?: number | undefined;
}

/** An append-only log of what was changed, by whom, and what came of it. */
export interface History extends AsyncDisposable {
  /**
   * Writes entries, all or none of them. Resolves when they are kept, never rejects: what cannot be written is logged and lost, as the
   * change is made by then.
   */
  record(...changes: readonly Change[]): Promise<void>;
  /** @throws {NearfarError} `unavailable` when the log cannot be read. */
  list(query?: HistoryQuery): Promise<readonly HistoryEntry[]>;
  /** Calls the listener with each entry that this server has written, until it is disposed. */
  watch(listener: (entry: HistoryEntry) => void): Disposable;
}

/** Where entries are kept. */
export interface HistoryStore {
  /**
   * Writes entries in one transaction.
   * @returns Their ids, in their order.
   */
  write(entries: readonly StampedChange[]): Promise<readonly number[]>;
  read(query: HistoryQuery): Promise<readonly HistoryEntry[]>;
  /** Whether what failed may succeed in a moment. */
  isTransient(error: unknown): boolean;
  close(): Promise<void>;
}

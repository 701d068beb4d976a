/** The way a change came to the server. */
export type ChangeWay = 'REST' | 'gRPC' | 'config-file' | 'server';

/** Who asks for a change. */
export interface Actor {
  /** The address of a client, the path of a file; `server` for what the server does by itself. */
  readonly who: string;
  readonly way: ChangeWay;
}

/** What is done to what is served. */
export type ChangeAction = 'add' | 'change' | 'remove' | 'load' | 'unload' | 'refuse';

/** One change, before it has its place in the log. */
export interface Change extends Actor {
  /** `add`, `change` and `remove` are of a model's configuration; `load` and `unload` of a version; `refuse` is of a call that was not allowed. */
  readonly action: ChangeAction;
  readonly model: string;
  readonly version?: string | undefined;
  /** What differs, as it was and as it is to be; only the settings that are not the same. */
  readonly from?: object | undefined;
  readonly to?: object | undefined;
  readonly outcome: 'done' | 'failed';
  /** Why it failed, or what is worth knowing of it. */
  readonly message?: string | undefined;
}

/** One line of the log. */
export interface HistoryEntry extends Change {
  /** Grows with each entry. */
  readonly id: number;
  /** ISO 8601, in UTC. */
  readonly at: string;
  /** The server that made the change, where several share a log: its host and port. */
  readonly server: string;
}

/** Which entries are wanted, newest first. */
export interface HistoryQuery {
  /** Of this model alone. */
  readonly model?: string | undefined;
  /** Older than the entry with this id. */
  readonly before?: number | undefined;
  /** At most so many. @default 100 */
  readonly limit?: number | undefined;
}

/** An append-only log of what was changed, by whom, and what came of it. */
export interface History extends Disposable {
  /** Writes an entry; one that cannot be written is logged and lost, as the change is made by then. */
  record(change: Change): void;
  /** @throws {NearfarError} `unavailable` when the log cannot be read. */
  list(query?: HistoryQuery): readonly HistoryEntry[];
}

import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import * as v from 'valibot';
import { NearfarError } from '../../core/index.ts';
import type { Logger } from '../log.ts';
import type { Change, History, HistoryEntry, HistoryQuery } from './entry.ts';
import { openDatabase, type SqliteDatabase } from './sqlite.ts';

export interface SqliteHistoryOptions {
  readonly file: string;
  /** Names this server in a log that several share. */
  readonly server: string;
  readonly log: Logger;
}

/** What brings the file from each layout to the next; its number is how many of them were done. */
const migrations: readonly string[] = [
  `CREATE TABLE changes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    server TEXT NOT NULL,
    who TEXT NOT NULL,
    way TEXT NOT NULL,
    action TEXT NOT NULL,
    model TEXT NOT NULL,
    version TEXT,
    before TEXT,
    after TEXT,
    outcome TEXT NOT NULL,
    message TEXT
  );
  CREATE INDEX changes_of_model ON changes (model, id);
  CREATE TRIGGER changes_stay BEFORE UPDATE ON changes BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
  CREATE TRIGGER changes_remain BEFORE DELETE ON changes BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;`,
];

/** How long one server waits for another that writes, in milliseconds. */
const patienceMs = 500;

/**
 * Opens the log in a file of SQLite, which is made or brought to the present layout. Each entry is on the disk before `record` returns.
 * @throws {NearfarError} `unsupported` without SQLite here or for a file of a later layout; `unavailable` for one that cannot be opened.
 */
export function openSqliteHistory({ file, server, log }: SqliteHistoryOptions): History {
  let database: SqliteDatabase;
  try {
    mkdirSync(dirname(file), { recursive: true });
    database = openDatabase(file);
    prepareFile(database, file);
  } catch (cause) {
    if (cause instanceof NearfarError) throw cause;
    throw new NearfarError('unavailable', `cannot open ${file}: ${cause instanceof Error ? cause.message : cause}`, {
      cause,
      details: { path: file },
    });
  }
  const insert = database.prepare(
    `INSERT INTO changes (at, server, who, way, action, model, version, before, after, outcome, message)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  return {
    record(change) {
      try {
        insert.run(...valuesOf(change, server));
      } catch (error) {
        log.error({ err: error, change }, `the history could not be written to ${file}`);
      }
    },
    list(query = {}) {
      try {
        return select(database, query);
      } catch (cause) {
        throw new NearfarError('unavailable', `the history cannot be read: ${cause instanceof Error ? cause.message : cause}`, { cause });
      }
    },
    [Symbol.dispose]: () => database.close(),
  };
}

/** Closes what is no history. */
function prepareFile(database: SqliteDatabase, file: string): void {
  try {
    database.exec(`PRAGMA busy_timeout = ${patienceMs}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;`);
    migrate(database, file);
  } catch (error) {
    database.close();
    throw error;
  }
}

/** In one transaction with the number of the layout, so that two servers that start together do it once. */
function migrate(database: SqliteDatabase, file: string): void {
  database.exec('BEGIN IMMEDIATE');
  try {
    const [row] = database.prepare('PRAGMA user_version').all();
    const done = v.parse(v.object({ user_version: v.number() }), row).user_version;
    if (done > migrations.length) {
      throw new NearfarError(
        'unsupported',
        `${file} was written by a later nearfar: its layout is ${done}, ${migrations.length} is known`,
        {
          details: { path: file, want: migrations.length, got: done },
        },
      );
    }
    for (const migration of migrations.slice(done)) database.exec(migration);
    database.exec(`PRAGMA user_version = ${migrations.length}; COMMIT`);
  } catch (error) {
    database.exec('ROLLBACK');
    throw error;
  }
}

function valuesOf({ who, way, action, model, version, from, to, outcome, message }: Change, server: string) {
  const json = (value: object | undefined) => (value === undefined ? null : JSON.stringify(value));
  const at = new Date().toISOString();
  return [at, server, who, way, action, model, version ?? null, json(from), json(to), outcome, message ?? null];
}

const orUndefined = v.pipe(
  v.nullable(v.string()),
  v.transform((text) => text ?? undefined),
);
const parsed = v.pipe(
  v.nullable(v.string()),
  v.transform((text): object | undefined => (text === null ? undefined : JSON.parse(text))),
);

const rowSchema = v.object({
  id: v.number(),
  at: v.string(),
  server: v.string(),
  who: v.string(),
  way: v.picklist(['REST', 'gRPC', 'config-file', 'server']),
  action: v.picklist(['add', 'change', 'remove', 'load', 'unload', 'refuse']),
  model: v.string(),
  version: orUndefined,
  before: parsed,
  after: parsed,
  outcome: v.picklist(['done', 'failed']),
  message: orUndefined,
});

/** A condition that may be absent is left out: with `? IS NULL OR …` the index of models is not used, and every entry is read. */
function select(database: SqliteDatabase, { model, before, limit = 100 }: HistoryQuery): readonly HistoryEntry[] {
  const conditions = [
    ...(model === undefined ? [] : [{ sql: 'model = ?', value: model }]),
    ...(before === undefined ? [] : [{ sql: 'id < ?', value: before }]),
  ];
  const where = conditions.length > 0 ? `WHERE ${conditions.map(({ sql }) => sql).join(' AND ')}` : '';
  const rows = database
    .prepare(`SELECT * FROM changes ${where} ORDER BY id DESC LIMIT ?`)
    .all(...conditions.map(({ value }) => value), limit);
  return v.parse(v.array(rowSchema), rows).map(({ before: from, after: to, ...entry }) => ({ ...entry, from, to }));
}

import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import * as v from 'valibot';
import { NearfarError } from '../../core/index.ts';
import type { History, HistoryQuery, HistoryStore, StampedChange } from './entry.ts';
import { entryOfRow, valuesOf } from './row.ts';
import { openDatabase, type SqliteDatabase } from './sqlite.ts';
import { createStoredHistory, type StoredHistoryOptions } from './stored-history.ts';

export interface SqliteHistoryOptions extends StoredHistoryOptions {
  readonly file: string;
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
  'ALTER TABLE changes ADD COLUMN folder TEXT',
];

/** How long a server that opens the file waits for another that writes, in milliseconds; afterwards nobody waits on the event loop. */
const openPatienceMs = 500;

/**
 * Opens the log in a file of SQLite, which is made or brought to the present layout. Each entry is on the disk before `record` resolves.
 * @throws {NearfarError} `unsupported` without SQLite here or for a file of a later layout; `unavailable` for one that cannot be opened.
 */
export function openSqliteHistory({ file, ...options }: SqliteHistoryOptions): History {
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
  return createStoredHistory(createStore(database), options);
}

function createStore(database: SqliteDatabase): HistoryStore {
  const insert = database.prepare(
    `INSERT INTO changes (at, server, who, way, action, model, folder, version, before, after, outcome, message)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  const insertAll = (entries: readonly StampedChange[]) =>
    entries.map((entry) => Number(v.parse(insertedSchema, insert.run(...valuesOf(entry))).lastInsertRowid));
  return {
    write: async (entries) => {
      database.exec('BEGIN IMMEDIATE');
      try {
        const ids = insertAll(entries);
        database.exec('COMMIT');
        return ids;
      } catch (error) {
        database.exec('ROLLBACK');
        throw error;
      }
    },
    read: async (query) => select(database, query),
    // Of node:sqlite and of libsql.
    isTransient: (error) => error instanceof Error && /database (table )?is locked|SQLITE_BUSY/.test(`${error.message} ${codeOf(error)}`),
    close: async () => database.close(),
  };
}

const insertedSchema = v.object({ lastInsertRowid: v.union([v.number(), v.bigint()]) });

function codeOf(error: Error): unknown {
  return 'code' in error ? error.code : '';
}

/** Closes what is no history. */
function prepareFile(database: SqliteDatabase, file: string): void {
  try {
    database.exec(`PRAGMA busy_timeout = ${openPatienceMs}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;`);
    migrate(database, file);
    database.exec('PRAGMA busy_timeout = 0');
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

/** A condition that may be absent is left out: with `? IS NULL OR …` the index of models is not used, and every entry is read. */
function select(database: SqliteDatabase, { model, folder, before, limit = 100 }: HistoryQuery) {
  const conditions = [
    ...(model === undefined ? [] : [{ sql: 'model = ?', value: model }]),
    ...(folder === undefined ? [] : [{ sql: 'folder = ?', value: folder }]),
    ...(before === undefined ? [] : [{ sql: 'id < ?', value: before }]),
  ];
  const where = conditions.length > 0 ? `WHERE ${conditions.map(({ sql }) => sql).join(' AND ')}` : '';
  return database
    .prepare(`SELECT * FROM changes ${where} ORDER BY id DESC LIMIT ?`)
    .all(...conditions.map(({ value }) => value), limit)
    .map(entryOfRow);
}

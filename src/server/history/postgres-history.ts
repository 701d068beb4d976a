import { createRequire } from 'node:module';
import { NearfarError } from '../../core/index.ts';
import type { History, HistoryQuery, HistoryStore, StampedChange } from './entry.ts';
import { entryOfRow, valuesOf } from './row.ts';
import { createStoredHistory, type StoredHistoryOptions } from './stored-history.ts';

export interface PostgresHistoryOptions extends StoredHistoryOptions {
  /** `postgres://user@host/database`; what it leaves out comes from libpq's environment variables. */
  readonly url: string;
}

/** What is used of the package `pg`. */
interface Client {
  query(text: string, values?: readonly unknown[]): Promise<{ readonly rows: readonly unknown[] }>;
  release(error?: boolean): void;
}
interface Pool {
  connect(): Promise<Client>;
  on(event: 'error', listener: (error: Error) => void): unknown;
  end(): Promise<void>;
}
type CreatePool = new (options: object) => Pool;

const connectTimeoutMs = 5_000;
const statementTimeoutMs = 10_000;

/** Of all servers that change the layout at once one does it. */
const migrationLock = 7_226_817;

/** What brings the database from each layout to the next, as in SQLite. */
const migrations: readonly string[] = [
  `CREATE TABLE nearfar_changes (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at TEXT NOT NULL,
    server TEXT NOT NULL,
    who TEXT NOT NULL,
    way TEXT NOT NULL,
    action TEXT NOT NULL,
    model TEXT NOT NULL,
    folder TEXT,
    version TEXT,
    before TEXT,
    after TEXT,
    outcome TEXT NOT NULL,
    message TEXT
  );
  CREATE INDEX nearfar_changes_of_model ON nearfar_changes (model, id);
  CREATE FUNCTION nearfar_changes_stay() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'the history is append-only'; END $$;
  CREATE TRIGGER nearfar_changes_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON nearfar_changes EXECUTE FUNCTION nearfar_changes_stay();`,
];

/**
 * Opens the log in PostgreSQL, for servers on several machines. Each entry is committed before `record` resolves.
 * @throws {NearfarError} `unsupported` without the package `pg` or for a later layout; `unavailable` for a database that does not answer.
 */
export async function openPostgresHistory({ url, ...options }: PostgresHistoryOptions): Promise<History> {
  const CreatedPool = findDriver();
  const pool = new CreatedPool({
    connectionString: url,
    max: 2,
    connectionTimeoutMillis: connectTimeoutMs,
    statement_timeout: statementTimeoutMs,
    application_name: `nearfar ${options.server}`,
  });
  // Of a connection that waits, when its server goes: the next query opens another.
  pool.on('error', (error) => options.log.error({ err: error }, 'a connection of the history was lost'));
  try {
    await inTransaction(pool, migrate);
  } catch (cause) {
    await pool.end();
    if (cause instanceof NearfarError) throw cause;
    // Its text has no password, and the URL may have one.
    const reason = cause instanceof Error ? cause.message || ('code' in cause ? cause.code : cause.name) : cause;
    throw new NearfarError('unavailable', `cannot open the history in PostgreSQL: ${reason}`, { cause });
  }
  return createStoredHistory(createStore(pool), options);
}

function findDriver(): CreatePool {
  try {
    const pg: { readonly Pool: CreatePool } = createRequire(import.meta.url)('pg');
    return pg.Pool;
  } catch (cause) {
    throw new NearfarError('unsupported', 'PostgreSQL is reached by the optional package pg, which cannot be loaded', { cause });
  }
}

function createStore(pool: Pool): HistoryStore {
  return {
    write: (entries) => inTransaction(pool, (client) => insertAll(client, entries)),
    read: async (query) => {
      const client = await pool.connect();
      try {
        return (await select(client, query)).map(entryOfRow);
      } finally {
        client.release();
      }
    },
    // 08: connections, 40: serialization and deadlocks, 53: too many clients, 57: shutting down.
    isTransient: (error) =>
      error instanceof Error && (!('code' in error) || /^(08|40|53|57)|^E(CONN|TIMEDOUT|PIPE|HOST)/.test(String(error.code))),
    close: () => pool.end(),
  };
}

async function inTransaction<T>(pool: Pool, work: (client: Client) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let isBroken = true;
  try {
    await client.query('BEGIN');
    try {
      const done = await work(client);
      await client.query('COMMIT');
      isBroken = false;
      return done;
    } catch (error) {
      await client.query('ROLLBACK').then(
        () => {
          isBroken = false;
        },
        () => undefined,
      );
      throw error;
    }
  } finally {
    client.release(isBroken);
  }
}

async function migrate(client: Client): Promise<void> {
  await client.query('SELECT pg_advisory_xact_lock($1)', [migrationLock]);
  await client.query('CREATE TABLE IF NOT EXISTS nearfar_history_layout (layout INTEGER NOT NULL)');
  const { rows } = await client.query('SELECT layout FROM nearfar_history_layout');
  const [row] = rows as readonly { readonly layout: number }[]; // of that query
  const done = row?.layout ?? 0;
  if (done > migrations.length) {
    throw new NearfarError(
      'unsupported',
      `the history was written by a later nearfar: its layout is ${done}, ${migrations.length} is known`,
      {
        details: { want: migrations.length, got: done },
      },
    );
  }
  if (done === migrations.length) return;
  for (const migration of migrations.slice(done)) await client.query(migration);
  await client.query(row ? 'UPDATE nearfar_history_layout SET layout = $1' : 'INSERT INTO nearfar_history_layout VALUES ($1)', [
    migrations.length,
  ]);
}

/** Ids are given in the order of the entries, of which there are few. */
async function insertAll(client: Client, entries: readonly StampedChange[]): Promise<readonly number[]> {
  const ids: number[] = [];
  for (const entry of entries) {
    const { rows } = await client.query(
      `INSERT INTO nearfar_changes (at, server, who, way, action, model, folder, version, before, after, outcome, message)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING id`,
      valuesOf(entry).map(withoutNul),
    );
    ids.push(Number((rows[0] as { readonly id: string }).id)); // of that query
  }
  return ids;
}

/** PostgreSQL takes none in a text. */
function withoutNul(value: string | null): string | null {
  return value?.replaceAll('\0', '\ufffd') ?? null;
}

async function select(client: Client, { model, folder, before, limit = 100 }: HistoryQuery): Promise<readonly unknown[]> {
  const values: unknown[] = [];
  const conditions = [
    ['model =', model],
    ['folder =', folder],
    ['id <', before],
  ].flatMap(([condition, value]) => (value === undefined ? [] : [`${condition} $${values.push(value)}`]));
  const where = conditions.length > 0 ? `WHERE ${conditions.join(' AND ')}` : '';
  const { rows } = await client.query(`SELECT * FROM nearfar_changes ${where} ORDER BY id DESC LIMIT $${values.push(limit)}`, values);
  return rows;
}

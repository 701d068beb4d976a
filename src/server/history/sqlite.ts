import { createRequire } from 'node:module';
import { NearfarError } from '../../core/index.ts';

/** A value of a cell. */
export type SqlValue = string | number | null;

/** What is used of SQLite, by the names that both its drivers have. */
export interface SqliteDatabase {
  exec(sql: string): void;
  prepare(sql: string): {
    run(...values: readonly SqlValue[]): unknown;
    all(...values: readonly SqlValue[]): unknown[];
  };
  close(): void;
}

type OpenDatabase = new (path: string) => SqliteDatabase;

/**
 * Opens a database file, by `node:sqlite` where this Node has it, else by the package `libsql`, whose code comes built with it.
 * @throws {NearfarError} `unsupported` where there is neither; `unavailable` for a file that cannot be opened.
 */
export function openDatabase(path: string): SqliteDatabase {
  const Database = findDriver();
  try {
    return new Database(path);
  } catch (cause) {
    throw new NearfarError('unavailable', `cannot open ${path}: ${cause instanceof Error ? cause.message : cause}`, {
      cause,
      details: { path },
    });
  }
}

function findDriver(): OpenDatabase {
  const builtIn: { readonly DatabaseSync?: OpenDatabase } | undefined = process.getBuiltinModule?.('node:sqlite');
  if (builtIn?.DatabaseSync) return builtIn.DatabaseSync;
  try {
    return createRequire(import.meta.url)('libsql');
  } catch (cause) {
    const message = `SQLite is missing: Node ${process.versions.node} has none, and the optional package libsql cannot be loaded`;
    throw new NearfarError('unsupported', message, { cause });
  }
}

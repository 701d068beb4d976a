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
  const require = createRequire(import.meta.url);
  const drivers: readonly (() => OpenDatabase)[] = [() => require('node:sqlite').DatabaseSync, () => require('libsql')];
  for (const driver of drivers) {
    try {
      return driver();
    } catch {
      // The next one.
    }
  }
  throw new NearfarError(
    'unsupported',
    `SQLite is missing: Node ${process.versions.node} has none, and the optional package libsql is not installed`,
  );
}

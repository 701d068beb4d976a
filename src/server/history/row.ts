import * as v from 'valibot';
import type { HistoryEntry, StampedChange } from './entry.ts';

// One entry as a row of a table.

/** In the order `at, server, who, way, action, model, folder, version, before, after, outcome, message`. */
export function valuesOf(entry: StampedChange): (string | null)[] {
  const { at, server, who, way, action, model, folder, version, from, to, outcome, message } = entry;
  const json = (value: object | undefined) => (value === undefined ? null : JSON.stringify(value));
  return [at, server, who, way, action, model, folder ?? null, version ?? null, json(from), json(to), outcome, message ?? null];
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
  id: v.pipe(v.union([v.number(), v.bigint(), v.string()]), v.transform(Number)),
  at: v.string(),
  server: v.string(),
  who: v.string(),
  way: v.string(),
  action: v.string(),
  model: v.string(),
  folder: orUndefined,
  version: orUndefined,
  before: parsed,
  after: parsed,
  outcome: v.string(),
  message: orUndefined,
});

export function entryOfRow(row: unknown): HistoryEntry {
  const { before: from, after: to, ...entry } = v.parse(rowSchema, row);
  return { ...entry, from, to };
}

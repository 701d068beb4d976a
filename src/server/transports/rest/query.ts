import * as v from 'valibot';
import { NearfarError } from '../../../core/index.ts';

/** A whole number of a query, from 1. */
export const wholeNumber = v.pipe(v.string(), v.regex(/^[1-9]\d{0,14}$/, 'expected a whole number'), v.transform(Number));

/** @throws {NearfarError} `invalid-argument` that names the first wrong parameter. */
export function parseQuery<Schema extends v.GenericSchema>(schema: Schema, query: unknown): v.InferOutput<Schema> {
  const parsed = v.safeParse(schema, query);
  if (parsed.success) return parsed.output;
  const [issue] = parsed.issues;
  throw new NearfarError('invalid-argument', `?${v.getDotPath(issue)}=: ${issue.message}, got ${issue.received}`, { details: { query } });
}

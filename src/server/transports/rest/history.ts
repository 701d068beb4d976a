import type { FastifyInstance } from 'fastify';
import * as v from 'valibot';
import type { RestContext } from '../context.ts';
import { parseQuery, wholeNumber } from './query.ts';

const mostEntries = 1_000;

const querySchema = v.object({
  model: v.optional(v.string()),
  before: v.optional(wholeNumber),
  limit: v.optional(v.pipe(wholeNumber, v.maxValue(mostEntries, `at most ${mostEntries}`))),
});

/** What was changed and by whom, newest first, for those who may change it: `?model=`, `?before=` an id, `?limit=`. */
export function addHistory(app: FastifyInstance, { admin }: RestContext): void {
  app.get('/nearfar/v1/history', async (request) => ({ entries: await admin.history.list(parseQuery(querySchema, request.query)) }));
}

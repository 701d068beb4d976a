import type { FastifyInstance } from 'fastify';
import * as v from 'valibot';
import { NearfarError } from '../../../core/index.ts';
import type { RestContext } from '../context.ts';

const mostEntries = 1_000;

const wholeNumber = v.pipe(v.string(), v.regex(/^[1-9]\d{0,14}$/, 'expected a whole number'), v.transform(Number));

const querySchema = v.object({
  model: v.optional(v.string()),
  before: v.optional(wholeNumber),
  limit: v.optional(v.pipe(wholeNumber, v.maxValue(mostEntries, `at most ${mostEntries}`))),
});

/** What was changed and by whom, newest first, for those who may change it: `?model=`, `?before=` an id, `?limit=`. */
export function addHistory(app: FastifyInstance, { admin }: RestContext): void {
  app.get('/nearfar/v1/history', async (request) => {
    const query = v.safeParse(querySchema, request.query);
    if (query.success) return { entries: await admin.history.list(query.output) };
    const [issue] = query.issues;
    throw new NearfarError('invalid-argument', `?${v.getDotPath(issue)}=: ${issue.message}`, { details: { query: request.query } });
  });
}

import { PassThrough } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import * as v from 'valibot';
import { chartStepMs, parsePlace, type Watcher } from '../../insights/index.ts';
import { assertMay } from '../../security/index.ts';
import type { RestContext } from '../context.ts';
import { callerOf, headerText } from './headers.ts';
import { parseQuery, wholeNumber } from './query.ts';

const name = v.optional(v.string());
const chartsQuery = v.object({ model: name, version: name, minutes: v.optional(wholeNumber, '60') });
const failuresQuery = v.object({
  model: name,
  kind: v.optional(v.picklist(['request', 'load', 'refused'], 'expected request, load or refused')),
  before: v.optional(wholeNumber),
  limit: v.optional(v.pipe(wholeNumber, v.maxValue(1_000, 'at most 1000'))),
});

/** What may wait for a watcher that reads slowly, in bytes; beyond it is let go and comes back. */
const mostUnread = 2 ** 20;

/** How the server fares: charts of the last hour, failures, and all that changes as Server-Sent Events. */
export function addInsights(app: FastifyInstance, { insights, guard }: RestContext): void {
  if (!insights) return;
  app.get('/nearfar/v1/charts', async (request) => {
    const { minutes, ...about } = parseQuery(chartsQuery, request.query);
    const points = insights.charts.points(about);
    return { stepMs: chartStepMs, points: points.slice(-Math.ceil((minutes * 60_000) / chartStepMs)) };
  });
  app.get('/nearfar/v1/failures', async (request) => ({ failures: insights.failures.list(parseQuery(failuresQuery, request.query)) }));
  // A HEAD would be a watcher that nobody reads, and that never goes.
  app.get('/nearfar/v1/events', { exposeHeadRoute: false }, async (request, reply) => {
    const stream = new PassThrough();
    const watcher = writeEvents(stream, async () => {
      if (guard) assertMay(await guard.identify(callerOf(request)), guard.ruleOf('audit'));
    });
    insights.feed.add(watcher, parsePlace(headerText(request, 'last-event-id')));
    stream.once('close', () => insights.feed.remove(watcher));
    // Nginx would gather what is to be seen at once.
    return reply.type('text/event-stream').header('cache-control', 'no-store').header('x-accel-buffering', 'no').send(stream);
  });
}

/**
 * The format is that of HTML's "Server-sent events".
 * @param assertMayStill Rejects once the caller may not watch any more, as when its key was taken back; asked whenever there is something to tell.
 */
function writeEvents(stream: PassThrough, assertMayStill: () => Promise<void>): Watcher {
  const write = (text: string) => {
    stream.write(text);
    assertMayStill().catch(() => stream.end());
    return stream.writableLength + stream.readableLength <= mostUnread;
  };
  return {
    send: (event, data, id) => write(`event: ${event}\nid: ${id}\ndata: ${JSON.stringify(data)}\n\n`),
    beat: () => void write(': still here\n\n'),
    end: () => void stream.end(),
  };
}

import type { FastifyInstance } from 'fastify';
import { sendJson } from './send-json.ts';

const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'];

/**
 * Answers 405, as Triton does, where a path is there under another method.
 * @returns Adds those answers to the routes that were added meanwhile; wildcards are none of them, they answer for themselves.
 */
export function watchMethods(app: FastifyInstance): () => void {
  const known = new Map<string, Set<string>>();
  app.addHook('onRoute', ({ url, method }) => {
    if (url.includes('*')) return;
    const allowed = known.get(url) ?? new Set();
    known.set(url, allowed);
    for (const each of [method].flat()) if (methods.includes(each)) allowed.add(each);
  });
  return () => {
    for (const [url, allowed] of [...known]) {
      const allow = [...allowed].join(', ');
      app.route({
        method: methods.filter((method) => !allowed.has(method)),
        url,
        config: { row: 'ANY other' },
        handler: (request, reply) => {
          reply.code(405).header('allow', allow);
          sendJson(
            reply,
            JSON.stringify({ error: `Method Not Allowed: ${request.method}, use ${allow}`, code: 'unsupported', details: {} }),
          );
        },
      });
    }
  };
}

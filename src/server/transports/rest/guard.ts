import type { FastifyInstance, FastifyRequest } from 'fastify';
import { type Access, accessOfRoute, type HttpRow, httpAccess, isChange } from '../../security/index.ts';
import { assertMayChange } from '../admin.ts';
import type { RestContext } from '../context.ts';
import { callerOf } from './headers.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The row of the table of access for a route whose own path is configured. */
    readonly row?: HttpRow;
  }
}

/**
 * From here on a route that has no row in the table of access cannot be added, and what the table asks of its callers is looked at before
 * its body is read.
 */
export function addGuard(app: FastifyInstance, context: RestContext): void {
  app.addHook('onRoute', (route) => {
    const guards = new Map<string, Guard>();
    for (const method of [route.method].flat()) {
      const { row } = route.config ?? {};
      const guard = guardOf(row ? httpAccess[row] : accessOfRoute(method, route.url), context);
      if (guard) guards.set(method, guard);
    }
    if (guards.size === 0) return;
    const look = async (request: FastifyRequest) => guards.get(request.method)?.(request);
    route.onRequest = [route.onRequest ?? [], look].flat();
  });
}

type Guard = (request: FastifyRequest) => void;

/** @returns undefined for what everyone may take. */
function guardOf(access: Access, { admin }: RestContext): Guard | undefined {
  if (isChange(access) || access === 'audit') return (request) => assertMayChange(admin, callerOf(request));
  return undefined;
}

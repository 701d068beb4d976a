import type { FastifyInstance, FastifyRequest } from 'fastify';
import { type Access, accessOfRoute, type HttpRow, httpAccess, isChange } from '../../security/index.ts';
import { actorOf, assertMayChange, noteRefusal } from '../admin.ts';
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
    const changing = new Set<string>();
    for (const method of [route.method].flat()) {
      const { row } = route.config ?? {};
      const access = row ? httpAccess[row] : accessOfRoute(method, route.url);
      const guard = guardOf(access, context);
      if (guard) guards.set(method, guard);
      if (isChange(access)) changing.add(method);
    }
    if (guards.size === 0) return;
    const look = async (request: FastifyRequest) => guards.get(request.method)?.(request);
    route.onRequest = [route.onRequest ?? [], look].flat();
    if (changing.size === 0) return;
    const note = async (request: FastifyRequest, _: unknown, error: unknown) => {
      if (changing.has(request.method)) noteRefusedCall(context, request, error);
    };
    route.onError = [route.onError ?? [], note].flat();
  });
}

/** For the history: a call that may not change anything, or cannot be read. */
function noteRefusedCall({ admin }: RestContext, request: FastifyRequest, error: unknown): void {
  const { model } = request.params as { readonly model?: string }; // by the router
  const call = `${request.method} ${request.url.split('?', 1)[0]}`;
  noteRefusal(admin, error, { ...actorOf(callerOf(request), 'REST'), call, model });
}

type Guard = (request: FastifyRequest) => void;

/** @returns undefined for what everyone may take. */
function guardOf(access: Access, { admin }: RestContext): Guard | undefined {
  if (isChange(access) || access === 'audit') return (request) => assertMayChange(admin, callerOf(request));
  return undefined;
}

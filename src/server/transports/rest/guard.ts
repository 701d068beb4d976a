import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import {
  type Access,
  accessOfRoute,
  assertCsrf,
  assertMay,
  type Guard,
  type HttpRow,
  httpAccess,
  type Identity,
  isBoundToPlace,
  isChange,
  loginPath,
} from '../../security/index.ts';
import { actorOf, assertMayChange, noteRefusal } from '../admin.ts';
import type { RestContext } from '../context.ts';
import { callerOf } from './headers.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The row of the table of access for a route whose own path is configured. */
    readonly row?: HttpRow;
  }
  interface FastifyRequest {
    /** Who it is, where callers have to say it. */
    identity: Identity | undefined;
  }
}

/**
 * From here on a route that has no row in the table of access cannot be added, and what the table asks of its callers is looked at before
 * its body is read.
 */
export function addGuard(app: FastifyInstance, context: RestContext): void {
  app.decorateRequest('identity', undefined);
  app.addHook('onRoute', (route) => {
    const looks = new Map<string, Look>();
    const changing = new Set<string>();
    for (const method of [route.method].flat()) {
      const { row } = route.config ?? {};
      const access = row ? httpAccess[row] : accessOfRoute(method, route.url);
      const look = lookOf(access, context);
      if (look) looks.set(method, look);
      if (isChange(access)) changing.add(method);
    }
    if (looks.size === 0) return;
    const look = async (request: FastifyRequest, reply: FastifyReply) => looks.get(request.method)?.(request, reply);
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

type Look = (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>;

/** @returns undefined for what everyone may take. */
function lookOf(access: Access, { admin, guard, signIn }: RestContext): Look | undefined {
  const rule = guard?.ruleOf(access) ?? 'open';
  const isBound = isBoundToPlace(access, guard !== undefined);
  // Who may sign in by a key too is asked by the page.
  if (access === 'page' && guard && signIn?.oidc && !signIn.keys) return (request, reply) => sendToLogin(request, reply, guard);
  if (rule === 'open' && !isBound) return undefined;
  return async (request) => {
    if (guard && rule !== 'open') {
      const identity = await guard.identify(callerOf(request));
      request.identity = identity;
      assertCsrf(identity, request.method, callerOf(request).header);
      assertMay(identity, rule, modelOf(request, access));
    }
    if (isBound) assertMayChange(admin, callerOf(request));
  };
}

/** Shows those who open the page without a session where to sign in. */
async function sendToLogin(request: FastifyRequest, reply: FastifyReply, guard: Guard): Promise<unknown> {
  if (!request.headers.accept?.includes('text/html')) return undefined;
  try {
    await guard.identify(callerOf(request));
    return undefined;
  } catch {
    return reply.header('cache-control', 'no-store').redirect(`${loginPath}?next=${encodeURIComponent(request.raw.url ?? '/ui')}`);
  }
}

/** The model of a path; `many` where it is about all of them. */
function modelOf(request: FastifyRequest, access: Access): string | { many: true } | undefined {
  const { model, '*': rest } = request.params as { readonly model?: string; readonly '*'?: string };
  if (model !== undefined) return model;
  const { url } = request.routeOptions;
  if (url === '/models/*') return rest?.split('/', 1)[0] ?? '';
  // Matched as the route itself does.
  if (url === '/v1/*') return decoded(/^\/v1\/models\/([^/:?]*)/i.exec(request.raw.url ?? '')?.[1] ?? '');
  return access === 'signed-in' || access === 'reports' ? undefined : { many: true };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

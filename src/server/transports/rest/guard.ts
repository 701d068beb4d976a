import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { NearfarError } from '../../../core/index.ts';
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
import { actorOf, assertMayChange } from '../admin.ts';
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
    const guards = new Map<string, Look>();
    for (const method of [route.method].flat()) {
      const { row } = route.config ?? {};
      const look = lookOf(row ? httpAccess[row] : accessOfRoute(method, route.url), context);
      if (look) guards.set(method, look);
    }
    if (guards.size === 0) return;
    const look = async (request: FastifyRequest, reply: FastifyReply) => guards.get(request.method)?.(request, reply);
    route.onRequest = [route.onRequest ?? [], look].flat();
  });
}

type Look = (request: FastifyRequest, reply: FastifyReply) => undefined | Promise<unknown>;

/** @returns undefined for what everyone may take. */
function lookOf(access: Access, { admin, guard, audit, signIn }: RestContext): Look | undefined {
  const rule = guard?.ruleOf(access) ?? 'open';
  const isBound = isBoundToPlace(access, guard !== undefined);
  // Who may sign in by a key too is asked by the page.
  if (access === 'page' && guard && signIn?.oidc && !signIn.keys) return (request, reply) => sendToLogin(request, reply, guard);
  if (rule === 'open' && !isBound) return undefined;
  const look = async (request: FastifyRequest) => {
    if (guard && rule !== 'open') {
      const identity = await guard.identify(callerOf(request));
      request.identity = identity;
      assertCsrf(identity, request.method, callerOf(request).header);
      assertMay(identity, rule, modelOf(request, access));
    }
    if (isBound) assertMayChange(admin, callerOf(request));
  };
  if (!isChange(access) || !audit) return look;
  return (request) =>
    look(request).catch((error: unknown) => {
      if (error instanceof NearfarError && isRefusal(error)) {
        const path = request.raw.url?.split('?', 1)[0];
        const { model = '' } = request.params as { readonly model?: string };
        audit.refused({
          ...actorOf(callerOf(request), 'REST'),
          model,
          message: `${request.method} ${path}: ${error.message} (${error.code})`,
        });
      }
      throw error;
    });
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

function isRefusal({ code }: NearfarError): boolean {
  return code === 'unauthenticated' || code === 'permission-denied';
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

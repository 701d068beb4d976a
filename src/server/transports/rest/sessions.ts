import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import * as v from 'valibot';
import { NearfarError } from '../../../core/index.ts';
import { keyIdOf, loginPath } from '../../security/index.ts';
import type { RestContext } from '../context.ts';
import { callerOf } from './headers.ts';
import { bodyJson } from './rest-call.ts';

const path = '/nearfar/v1/session';
const bodyLimitBytes = 4096;
const keySchema = v.object({ key: v.string() });

/** How the page finds out who is signed in, and signs somebody in: by an API key, or at an OpenID provider. */
export function addSessions(app: FastifyInstance, { guard, signIn }: RestContext): void {
  const { sessions, keys, oidc } = signIn ?? {};

  app.get(path, async (request, reply) => {
    reply.header('cache-control', 'no-store');
    if (!guard) return { authentication: false };
    const offered = { authentication: true, signIn: [...(sessions && keys ? ['api-key'] : []), ...(oidc ? ['oidc'] : [])] };
    try {
      const { name, roles, models, csrf } = await guard.identify(callerOf(request));
      return { ...offered, name, roles: [...roles], ...(models && { models: [...models] }), ...(csrf !== undefined && { csrf }) };
    } catch (error) {
      if (error instanceof NearfarError && error.code === 'unauthenticated') return offered;
      throw error;
    }
  });
  if (!guard || !sessions) return;
  app.delete(path, async (request, reply) => {
    assertOwnPage(request);
    return reply.header('set-cookie', sessions.close()).code(204).send();
  });
  if (keys) {
    app.post(path, { bodyLimit: bodyLimitBytes }, async (request, reply) => {
      assertOwnPage(request);
      const body = v.safeParse(keySchema, bodyJson(request));
      if (!body.success) throw new NearfarError('invalid-argument', 'expected a body such as {"key": "nfk_…"}');
      const { key } = body.output;
      const { peer } = callerOf(request);
      const { name, roles } = await guard.identify({ peer, header: (header) => (header === 'x-api-key' ? key : undefined) });
      reply.header('cache-control', 'no-store').header('set-cookie', await sessions.open({ keyId: keyIdOf(key) ?? '' }));
      return { name, roles: [...roles] };
    });
  }
  if (!oidc) return;
  app.get<{ Querystring: { readonly next?: string } }>(loginPath, async ({ query }, reply) => {
    const { url, cookie } = await oidc.begin(query.next ?? '/ui');
    return goTo(reply, url, [cookie]);
  });
  app.get(`${loginPath}/callback`, async ({ raw, headers }, reply) => {
    const { search } = new URL(raw.url ?? '', 'http://localhost');
    const { next, cookies } = await oidc.finish(search, headers.cookie ?? '');
    return goTo(reply, next, cookies);
  });
}

/** A page that shall not know by the Referer what the addresses on the way held. */
function goTo(reply: FastifyReply, url: string, cookies: readonly string[]): FastifyReply {
  return reply.header('cache-control', 'no-store').header('referrer-policy', 'no-referrer').header('set-cookie', cookies).redirect(url);
}

/** Another page could sign somebody in as somebody else, or out. */
function assertOwnPage({ headers: { origin, host } }: FastifyRequest): void {
  if (origin === undefined || (URL.canParse(origin) && new URL(origin).host === host)) return;
  throw new NearfarError('permission-denied', `pages of ${origin} may not sign in here`);
}

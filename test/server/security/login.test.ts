import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort } from '../../support/free-port.ts';
import { openOidcProvider } from '../../support/oidc-provider.ts';
import { type GuardedServer, openGuardedServer } from './support.ts';

// A real OpenID provider, and a browser's part: redirects that are followed by hand, with their cookies.

let provider: Awaited<ReturnType<typeof openOidcProvider>>;
let guarded: GuardedServer;
let url: string;

beforeAll(async () => {
  const restPort = await freePort();
  url = `http://127.0.0.1:${restPort}`;
  provider = await openOidcProvider(`${url}/nearfar/v1/login/callback`);
  guarded = await openGuardedServer({
    restPort,
    authentication: {
      oidc: { issuer: provider.issuer, clientId: 'nearfar', publicUrl: url, roleClaim: 'groups', roles: { 'ml-ops': 'operate' } },
    },
  });
});
afterAll(async () => {
  await guarded?.[Symbol.asyncDispose]();
  provider?.[Symbol.dispose]();
});

/** What a browser does: keeps cookies by host and path, and follows where it is sent. */
class Visitor {
  readonly #cookies = new Map<string, { value: string; path: string; attributes: string }>();

  cookie(name: string) {
    return this.#cookies.get(name);
  }

  async open(address: string, init: RequestInit = {}): Promise<{ response: Response; url: string }> {
    let [next, options] = [address, init];
    for (let hops = 0; hops < 15; hops++) {
      const { origin, pathname } = new URL(next);
      const sent = [...this.#cookies].filter(([name, { path }]) => name.startsWith(origin) && pathname.startsWith(path));
      const cookie = sent.map(([name, { value }]) => `${name.slice(origin.length + 1)}=${value}`).join('; ');
      const response = await fetch(next, { ...options, redirect: 'manual', headers: { ...options.headers, cookie } });
      for (const line of response.headers.getSetCookie()) {
        const [, name = '', value = '', attributes = ''] = /^([^=]+)=([^;]*)(.*)$/.exec(line) ?? [];
        const path = /path=([^;]+)/i.exec(attributes)?.[1] ?? '/';
        if (value === '') this.#cookies.delete(`${origin} ${name}`);
        else this.#cookies.set(`${origin} ${name}`, { value, path, attributes });
      }
      const location = response.headers.get('location');
      if (location === null) return { response, url: next };
      [next, options] = [new URL(location, next).href, {}];
    }
    throw new Error(`${address} leads nowhere`);
  }

  /** Signs in at the provider's forms, and answers where that ends. */
  async signIn(user: string, next = '/ui/models'): Promise<{ response: Response; url: string }> {
    let at = await this.open(`${url}/nearfar/v1/login?next=${encodeURIComponent(next)}`);
    for (let form = 0; form < 3 && !at.url.startsWith(url); form++) {
      const page = await at.response.text();
      const prompt = /name="prompt" value="(\w+)"/.exec(page)?.[1] ?? '';
      const action = /action="([^"]+)"/.exec(page)?.[1] ?? '';
      const body = new URLSearchParams({ prompt, ...(prompt === 'login' && { login: user, password: 'any' }) });
      at = await this.open(new URL(action, at.url).href, { method: 'POST', body });
    }
    return at;
  }

  async session() {
    return (await (await this.open(`${url}/nearfar/v1/session`)).response.json()) as {
      name?: string;
      roles?: string[];
      csrf?: string;
      signIn: string[];
    };
  }
}

test('signs somebody in at the provider, with the role of a group, and comes back to the page', async () => {
  const visitor = new Visitor();
  const before = await visitor.session();

  const { url: end } = await visitor.signIn('olga');

  expect(before).toEqual({ authentication: true, signIn: ['api-key', 'oidc'] });
  expect(end).toBe(`${url}/ui/models`);
  expect(await visitor.session()).toMatchObject({ name: 'user:olga (olga)', roles: ['operate', 'read'], csrf: expect.any(String) });
  expect(visitor.cookie(`${url} nearfar-session`)?.attributes).toMatch(/Path=\/; Max-Age=28800; HttpOnly; SameSite=Lax/);
});

test('takes changes of a session with its word against forgery alone, and writes down who made them', async () => {
  const visitor = new Visitor();
  await visitor.signIn('olga');
  const { csrf = '' } = await visitor.session();
  const remove = async (headers: Record<string, string>) => {
    const { response } = await visitor.open(`${url}/nearfar/v1/models/m`, { method: 'DELETE', headers });
    return response.status;
  };

  expect(await remove({})).toBe(403);
  expect(await remove({ 'nearfar-csrf': `${csrf}x` })).toBe(403);
  expect(await remove({ 'nearfar-csrf': csrf, origin: 'https://evil.test' })).toBe(403);
  expect(await remove({ 'nearfar-csrf': csrf, origin: url })).toBe(404);
  const { response } = await visitor.open(`${url}/nearfar/v1/history?model=m`);
  const { entries } = (await response.json()) as { entries: { who: string }[] };
  expect(entries[0]?.who).toBe('user:olga (olga) (127.0.0.1)');
});

test('refuses somebody without a role, and a login that was not begun here or is not finished as it began', async () => {
  const [visitor, other] = [new Visitor(), new Visitor()];
  const refused = await visitor.signIn('victor');
  const { response: begun } = await fetchBegun(other);
  const state = new URL(begun).searchParams.get('state') ?? '';
  const callback = `${url}/nearfar/v1/login/callback`;

  expect([refused.response.status, (await visitor.session()).name]).toEqual([403, undefined]);
  expect((await new Visitor().open(`${callback}?code=x&state=${state}`)).response.status).toBe(401);
  expect((await other.open(`${callback}?code=x&state=y`)).response.status).toBe(401);
  expect((await other.open(`${callback}?code=x&state=${state}`)).response.status).toBe(401);
  expect((await other.session()).name).toBeUndefined();
});

async function fetchBegun(visitor: Visitor): Promise<{ response: string }> {
  const { response } = await visitor.open(`${url}/nearfar/v1/login`);
  expect(response.status).toBe(200);
  const begun = await fetch(`${url}/nearfar/v1/login`, { redirect: 'manual' });
  return { response: begun.headers.get('location') ?? '' };
}

test.each(['https://evil.test/', '//evil.test', '/\\evil.test', 'javascript:alert(1)'])('never comes back to %s', async (next) => {
  const { url: end } = await new Visitor().signIn('olga', next);

  expect(end).toBe(`${url}/ui/`);
});

test('makes a session of an API key, which ends with the key, and by itself', async () => {
  const visitor = new Visitor();
  const begin = (key: string, headers: Record<string, string> = {}) =>
    visitor.open(`${url}/nearfar/v1/session`, { method: 'POST', body: JSON.stringify({ key }), headers });

  expect((await begin('nothing')).response.status).toBe(401);
  expect((await begin(guarded.keys.read, { origin: 'https://evil.test' })).response.status).toBe(403);
  const { response } = await begin(guarded.keys.read, { origin: url });
  expect([response.status, await response.json()]).toEqual([200, { name: 'key:the-read', roles: ['read'] }]);
  expect((await visitor.session()).name).toBe('key:the-read');
  expect((await visitor.open(`${url}/nearfar/v1/models`)).response.status).toBe(200);
  await visitor.open(`${url}/nearfar/v1/session`, { method: 'DELETE', headers: { origin: url } });
  expect((await visitor.session()).name).toBeUndefined();
});

test('a session that was made up, or signed by another server, is none', async () => {
  const forged = [
    'eyJhbGciOiJub25lIn0.eyJ1c2VyIjoicm9vdCIsInJvbGVzIjpbImFkbWluIl0sImNzcmYiOiJ4IiwiYXVkIjoic2Vzc2lvbiIsImV4cCI6OTk5OTk5OTk5OX0.',
    'x',
    '',
  ];
  const statuses = forged.map(async (session) => {
    return (await fetch(`${url}/nearfar/v1/models`, { headers: { cookie: `nearfar-session=${session}` } })).status;
  });

  expect(await Promise.all(statuses)).toEqual([401, 401, 401]);
});

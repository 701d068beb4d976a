import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT, UnsecuredJWT } from 'jose';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type TokenOptions, Tokens } from '../../../src/server/security/tokens.ts';
import { openTempFolder } from '../../support/model-folder.ts';
import { openGuardedServer } from './support.ts';

// Tokens of an issuer of the test's own, whose keys are fetched from a real server.

type Pair = Awaited<ReturnType<typeof makePair>>;

async function makePair(kid: string) {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
  return { kid, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg: 'ES256', use: 'sig' } };
}

const issuer = 'https://issuer.test';
const audience = 'nearfar';
const right: JWTPayload = { sub: 'alice', roles: ['read', 'somebody-else'] };

function sign(
  { kid, privateKey }: Pair,
  claims: JWTPayload = right,
  { expires = '5m', iss = issuer, aud = audience } = {},
): Promise<string> {
  return new SignJWT(claims)
    .setProtectedHeader({ alg: 'ES256', kid })
    .setIssuer(iss)
    .setAudience(aud)
    .setIssuedAt()
    .setExpirationTime(expires)
    .sign(privateKey);
}

let first: Pair;
let second: Pair;
let served: readonly object[];
let fetches: number;
let respond: 'keys' | 'elsewhere' | 'broken';
const server = createServer((_, response) => {
  fetches++;
  if (respond === 'broken') response.writeHead(500).end();
  else if (respond === 'elsewhere') response.writeHead(302, { location: 'http://169.254.169.254/latest/meta-data' }).end();
  else response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: served }));
});
let options: TokenOptions;

beforeAll(async () => {
  [first, second] = await Promise.all([makePair('first'), makePair('second')]);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
beforeEach(() => {
  served = [first.jwk];
  fetches = 0;
  respond = 'keys';
  options = { jwks: `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`, issuer, audience, refetchSeconds: 0 };
});
afterAll(() => void server.close());

describe('a token', () => {
  test('is taken for its subject and those of its roles that there are, and is remembered', async () => {
    const tokens = new Tokens(options);
    const token = await sign(first);
    const before = tokens.known(token);

    const identity = await tokens.verify(token);

    expect(identity).toMatchObject({ name: 'token:alice', roles: new Set(['read']) });
    expect([before, tokens.known(token)]).toEqual([undefined, identity]);
  });

  test.each<[string, (pair: Pair) => Promise<string> | string, RegExp]>([
    ['is expired', (pair) => sign(pair, right, { expires: '-1m' }), /"exp" claim/],
    ['is of another issuer', (pair) => sign(pair, right, { iss: 'https://other.test' }), /"iss" claim/],
    ['is for somebody else', (pair) => sign(pair, right, { aud: 'other' }), /"aud" claim/],
    ['has no subject', (pair) => sign(pair, { roles: ['admin'] }), /"sub" claim/],
    [
      'never ends',
      ({ kid, privateKey }) =>
        new SignJWT(right).setProtectedHeader({ alg: 'ES256', kid }).setIssuer(issuer).setAudience(audience).sign(privateKey),
      /"exp" claim/,
    ],
    [
      'is signed by nobody',
      () => new UnsecuredJWT(right).setIssuer(issuer).setAudience(audience).setExpirationTime('5m').encode(),
      /Algorithm|alg/,
    ],
    [
      'is signed with the public key as a secret',
      ({ kid, jwk }) =>
        new SignJWT(right)
          .setProtectedHeader({ alg: 'HS256', kid })
          .setIssuer(issuer)
          .setAudience(audience)
          .setExpirationTime('5m')
          .sign(Buffer.from(JSON.stringify(jwk))),
      /Algorithm|alg/,
    ],
    [
      'was changed',
      async (pair) =>
        (await sign(pair)).replace(/\.[^.]+\./, `.${Buffer.from(JSON.stringify({ ...right, sub: 'root' })).toString('base64url')}.`),
      /signature verification failed/,
    ],
    ['is none', () => 'canary-of-a-token', /Invalid Compact JWS/],
  ])('that %s is refused, and the reason does not hold it', async (_, make, reason) => {
    const token = await make(first);

    const error = await new Tokens(options).verify(token).catch((reason: unknown) => reason);

    expect(error).toMatchObject({ code: 'unauthenticated', message: expect.stringMatching(reason) });
    expect(inspect(error, { depth: 9 })).not.toContain(token);
  });

  test('of an algorithm that is not configured is refused', async () => {
    const tokens = new Tokens({ ...options, algorithms: ['RS256'] });

    await expect(tokens.verify(await sign(first))).rejects.toMatchObject({ code: 'unauthenticated' });
  });

  test('is not taken any more when its time is over, though it was remembered', async () => {
    let now = Date.now();
    const tokens = new Tokens({ ...options, clockToleranceSeconds: 0 }, () => now);
    const token = await sign(first, right, { expires: '20s' });
    await tokens.verify(token);
    now += 21_000;

    expect(tokens.known(token)).toBeUndefined();
    await expect(tokens.verify(token)).rejects.toMatchObject({ code: 'unauthenticated' });
  });

  test.each([
    ['a list at a path with dots', { roleClaim: 'realm_access.roles' }, { realm_access: { roles: ['operate'] } }, ['operate', 'read']],
    [
      'words under a name with dots',
      { roleClaim: 'https://x.test/roles' },
      { 'https://x.test/roles': 'predict read' },
      ['predict', 'read'],
    ],
    [
      'groups that are given roles',
      { roleClaim: 'groups', roles: { 'ml-ops': 'operate' as const } },
      { groups: ['ml-ops', 'admin'] },
      ['operate', 'read'],
    ],
    ['names that every object has', {}, { roles: ['constructor', '__proto__'] }, []],
    ['nothing', {}, {}, []],
  ])('tells its roles by %s', async (_, claimed, claims, roles) => {
    const tokens = new Tokens({ ...options, ...claimed });

    const identity = await tokens.verify(await sign(first, { sub: 'alice', ...claims }));

    expect([...identity.roles]).toEqual(roles);
  });
});

describe('the keys of an issuer', () => {
  test('are fetched again for a token with a new one, and that is limited', async () => {
    const eager = new Tokens(options);
    const patient = new Tokens({ ...options, refetchSeconds: 3600 });
    await Promise.all([eager.verify(await sign(first)), patient.verify(await sign(first))]);
    served = [second.jwk];
    fetches = 0;

    const rotated = await eager.verify(await sign(second));
    const withdrawn = eager.verify(await sign(first, { ...right, sub: 'bob' }));
    await expect(withdrawn).rejects.toMatchObject({ code: 'unauthenticated' });
    const afterRotation = fetches;
    const refused = [];
    for (let sent = 0; sent < 20; sent++) refused.push(await patient.verify(await sign(second)).catch(({ code }) => code));

    expect(rotated.name).toBe('token:alice');
    expect(afterRotation).toBeLessThanOrEqual(2);
    expect(refused).toEqual(Array(20).fill('unauthenticated'));
    expect(fetches).toBe(afterRotation);
  });

  test.each(['broken', 'elsewhere'] as const)(
    'that cannot be had (%s) are no fault of the token, and no redirect is followed',
    async (how) => {
      respond = how;

      await expect(new Tokens(options).verify(await sign(first))).rejects.toMatchObject({ code: 'unavailable' });
      expect(fetches).toBe(1);
    },
  );

  test('are read from a file, again when a token names another', async () => {
    await using folder = await openTempFolder();
    const file = join(folder.path, 'jwks.json');
    await writeFile(file, JSON.stringify({ keys: [first.jwk] }));
    const tokens = new Tokens({ ...options, jwks: file });
    const before = (await tokens.verify(await sign(first))).name;
    const unknown = await tokens.verify(await sign(second)).catch(({ code }) => code);
    await writeFile(file, JSON.stringify({ keys: [second.jwk] }));

    expect([before, unknown, (await tokens.verify(await sign(second))).name]).toEqual(['token:alice', 'unauthenticated', 'token:alice']);
  });
});

test('a running server takes tokens beside keys, small predictions among them, and refuses those without a role', async () => {
  await using guarded = await openGuardedServer({ authentication: { jwt: options } });
  const { restAddress } = guarded.server;
  const [reader, predictor, nobody] = await Promise.all([
    sign(first),
    sign(first, { sub: 'p', roles: 'predict' }),
    sign(first, { sub: 'n' }),
  ]);
  const ask = async (path: string, token: string, body?: string) => {
    const init = body === undefined ? {} : { method: 'POST', body, headers: { 'content-type': 'application/json' } };
    return (await fetch(restAddress + path, { ...init, headers: { ...init.headers, authorization: `Bearer ${token}` } })).status;
  };

  expect([await ask('/nearfar/v1/models', reader), await ask('/nearfar/v1/models', predictor), await ask('/v2', nobody)]).toEqual([
    200, 403, 403,
  ]);
  // The first is waited for, the second is known by then; there is no such model.
  const predict = () => ask('/v1/models/m:predict', predictor, '{"instances": [1]}');
  expect([await predict(), await predict(), await ask('/v1/models/m:predict', reader, '{"instances": [1]}')]).toEqual([404, 404, 403]);
  expect(await ask('/nearfar/v1/models', guarded.keys.read)).toBe(200);
});

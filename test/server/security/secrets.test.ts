import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { join } from 'node:path';
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { beforeAll, describe, expect, test } from 'vitest';
import { build } from '../../../scripts/build.mjs';
import { createApiKey, writeApiKeys } from '../../../src/server/security/index.ts';
import { readSslConfig } from '../../../src/server/ssl-config.ts';
import { makeCertificates } from '../../support/certificates.ts';
import { freePort } from '../../support/free-port.ts';
import { openTempFolder } from '../../support/model-folder.ts';
import { repositoryRoot } from '../../support/packed.ts';
import { openGuardedServer } from './support.ts';

const bytes = (value: Buffer) => value;

describe('secrets and payloads', () => {
  beforeAll(() => build());

  test('are in no line of the log at its most talkative, and in no entry of the history', async () => {
    await using folder = await openTempFolder();
    const [rest, grpc] = [await freePort(), await freePort()];
    const keysFile = join(folder.path, 'keys.json');
    const historyFile = join(folder.path, 'history.sqlite');
    const [reader, admin] = [createApiKey({ name: 'reader', roles: ['read'] }), createApiKey({ name: 'admin', roles: ['admin'] })];
    await writeApiKeys(keysFile, [reader.stored, admin.stored]);
    await writeFile(join(folder.path, 'secret'), 'CANARY-session-secret-of-32-bytes-and-more');
    await writeFile(join(folder.path, 'auth.json'), JSON.stringify({ apiKeysFile: 'keys.json', sessionSecretFile: 'secret' }));
    const ports = [`--rest_api_port=${rest}`, `--port=${grpc}`, '--host=127.0.0.1'];
    const told = [
      `--auth_config_file=${join(folder.path, 'auth.json')}`,
      `--history_file=${historyFile}`,
      '--log_level=trace',
      '--access_log',
    ];
    const child = spawn(
      process.execPath,
      [
        join(repositoryRoot, 'dist/cli/main.js'),
        'serve',
        '--json',
        `--models=${folder.path}`,
        ...ports,
        ...told,
        `--cache_dir=${folder.path}/cache`,
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const said: Buffer[] = [];
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => void said.push(chunk));
    await expect.poll(() => Buffer.concat(said).toString(), { timeout: 20_000 }).toContain('"listening"');
    const url = `http://127.0.0.1:${rest}`;
    const wrong = [
      { 'x-api-key': 'nfk_0123456789ab_CANARY1' },
      { authorization: 'Bearer CANARY2.CANARY2.CANARY2' },
      { authorization: 'Basic CANARY3' },
      { cookie: 'nearfar-session=CANARY4' },
    ];

    const statuses = await Promise.all(
      wrong.map(
        async (headers) => (await fetch(`${url}/v1/models/m`, { method: 'GET', headers: { ...headers } as Record<string, string> })).status,
      ),
    );
    const right = await fetch(`${url}/v1/models/m:predict`, {
      method: 'POST',
      headers: { 'x-api-key': admin.key, 'content-type': 'application/json' },
      body: '{"instances": ["CANARY5"]}',
    });
    await fetch(`${url}/nearfar/v1/config`, { method: 'PUT', headers: { 'x-api-key': reader.key }, body: '{"CANARY6": 1}' });
    await fetch(`${url}/nearfar/v1/config`, { method: 'PUT', headers: { 'x-api-key': admin.key }, body: '{"CANARY7": 1' });
    const session = await fetch(`${url}/nearfar/v1/session`, { method: 'POST', body: JSON.stringify({ key: reader.key }) });
    const client = new Client(`127.0.0.1:${grpc}`, credentials.createInsecure());
    const metadata = new Metadata();
    metadata.set('authorization', 'Bearer CANARY8');
    await new Promise((resolve) =>
      client.makeUnaryRequest('/inference.GRPCInferenceService/ServerMetadata', bytes, bytes, Buffer.alloc(0), metadata, resolve),
    );
    client.close();
    child.kill('SIGTERM');
    await once(child, 'exit');

    const all = Buffer.concat([...said, await readFile(historyFile)]).toString('latin1');
    expect([statuses, right.status, session.status]).toEqual([[401, 401, 401, 401], 404, 200]);
    expect(all).toContain('wrong credentials');
    expect(all).toContain('key:reader');
    expect(all.match(/.{0,80}CANARY.{0,40}/g)).toBeNull();
    for (const { key } of [reader, admin]) expect(all).not.toContain(key.slice(17));
    expect(all).not.toContain(session.headers.getSetCookie()[0]?.split(/[=;]/)[1]);
  });
});

describe('pages of other origins', () => {
  test('may bring credentials where their origin is named, and not where any is allowed', async () => {
    await using named = await openGuardedServer({ corsAllowedOrigins: ['https://app.test'] });
    await using any = await openGuardedServer({ corsAllowedOrigins: ['*'] });
    const preflight = async (server: typeof named, origin: string) => {
      const { headers } = await fetch(`${server.server.restAddress}/v1/models/m:predict`, {
        method: 'OPTIONS',
        headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization, x-api-key' },
      });
      return ['origin', 'credentials', 'headers'].map((name) => headers.get(`access-control-allow-${name}`));
    };

    expect(await preflight(named, 'https://app.test')).toEqual(['https://app.test', 'true', 'authorization, x-api-key']);
    expect((await preflight(named, 'https://evil.test'))[0]).toBeNull();
    expect(await preflight(any, 'https://evil.test')).toEqual(['*', null, 'authorization, x-api-key']);
    const refused = await fetch(`${named.server.restAddress}/v2`, { headers: { origin: 'https://app.test' } });
    expect([refused.status, refused.headers.get('access-control-allow-origin')]).toEqual([401, 'https://app.test']);
    expect(refused.headers.get('access-control-expose-headers')).toContain('www-authenticate');
    expect(refused.headers.get('x-content-type-options')).toBe('nosniff');
  });
});

const made = makeCertificates();

test.skipIf(!made)('a client certificate gives the roles of its subject, over HTTP, gRPC and the admin address', async () => {
  const { authority, server: own, client } = made!;
  await using folder = await openTempFolder();
  const file = join(folder.path, 'ssl.config');
  const fields = { server_key: own.key, server_cert: own.cert, custom_ca: authority, client_verify: true };
  await writeFile(
    file,
    Object.entries(fields)
      .map(([name, value]) => `${name}: ${JSON.stringify(value)}\n`)
      .join(''),
  );
  await using guarded = await openGuardedServer({
    tls: readSslConfig(file),
    adminAddress: { host: '127.0.0.1', port: 0 },
    authentication: {
      clientCertificates: [
        { subject: { CN: 'somebody' }, roles: ['admin'] },
        { subject: { CN: 'client' }, roles: ['operate'] },
      ],
    },
  });
  const { restAddress, grpcAddress, adminAddress } = guarded.server;
  const get = async (url: string, headers: Record<string, string> = {}, method = 'GET') => {
    const sent = request(url, { ca: authority, agent: false, method, headers, ...client });
    sent.end();
    const [response] = await once(sent, 'response');
    response.resume();
    return response.statusCode;
  };
  const call = (address: string, path: string, options = {}) => {
    const pair = credentials.createSsl(Buffer.from(authority), Buffer.from(client.key), Buffer.from(client.cert));
    const grpc = new Client(address, pair, options);
    return new Promise<number>((resolve) => {
      grpc.makeUnaryRequest(path, bytes, bytes, Buffer.alloc(0), (error: ServiceError | null) => resolve(error?.code ?? status.OK));
    }).finally(() => grpc.close());
  };
  const index = '/inference.GRPCInferenceService/RepositoryIndex';
  const compressed = { 'grpc.default_compression_algorithm': 2 };

  expect(await get(`${restAddress}/nearfar/v1/models`)).toBe(200);
  expect(await get(`${restAddress}/v1/models/m:predict`, {}, 'POST')).toBe(403);
  // What is brought beside it counts first.
  expect(await get(`${restAddress}/nearfar/v1/models`, { 'x-api-key': guarded.keys.predict })).toBe(403);
  expect(await get(`https://${adminAddress}/nearfar/v1/models/m`, {}, 'DELETE')).toBe(404);
  expect([await call(grpcAddress!, index), await call(grpcAddress!, index, compressed), await call(adminAddress!, index)]).toEqual([
    0, 0, 0,
  ]);
  expect(await call(grpcAddress!, '/tensorflow.serving.PredictionService/Predict')).toBe(status.PERMISSION_DENIED);
});

test.each([
  [
    'a place with http that is not this machine',
    { jwt: { jwks: 'http://keys.test/jwks', issuer: 'i', audience: 'a' } },
    /jwt\.jwks: expected a file, or a URL with https/,
  ],
  ['an algorithm with a secret', { jwt: { jwks: 'jwks.json', issuer: 'i', audience: 'a', algorithms: ['HS256'] } }, /jwt\.algorithms\.0/],
  ['no audience', { jwt: { jwks: 'jwks.json', issuer: 'i' } }, /jwt\.audience/],
  ['something misspelt', { apiKeyFile: 'keys.json' }, /apiKeyFile/],
  ['nobody who could come in', { open: ['metrics'] }, /nothing says how callers prove who they are/],
  ['certificates without TLS', { clientCertificates: [{ subject: { CN: 'a' }, roles: ['read'] }] }, /custom_ca and client_verify/],
])('an auth config with %s ends the start with the reason', async (_, config, reason) => {
  await using folder = await openTempFolder();
  const file = join(folder.path, 'auth.json');
  await writeFile(file, JSON.stringify(config));
  const { parseConfig } = await import('../../../src/server/index.ts');

  expect(() => parseConfig([`--models=${folder.path}`, `--auth_config_file=${file}`], {})).toThrow(reason);
});

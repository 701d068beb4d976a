import { writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { expect, test } from 'vitest';
import { GRPCInferenceService } from '../../../src/core/index.ts';
import { startServer } from '../../../src/server/index.ts';
import { writeApiKeys } from '../../../src/server/security/index.ts';
import { openTempFolder } from '../../support/model-folder.ts';
import { openGuardedServer } from './support.ts';

// What an attacker tries, with requests of its own making.

test('who asks for the head of the events takes no place of those who watch', async () => {
  await using guarded = await openGuardedServer();
  const events = `${guarded.server.restAddress}/nearfar/v1/events`;
  const headers = { 'x-api-key': guarded.keys.read };

  for (let asked = 0; asked < 65; asked++) await fetch(events, { method: 'HEAD', headers });
  const controller = new AbortController();
  const { status } = await fetch(events, { headers, signal: controller.signal });
  controller.abort();

  expect(status).toBe(200);
});

test('a key that is taken back sees no more events, and predicts no more over a stream that is open', async () => {
  await using guarded = await openGuardedServer();
  const { server, keys, stored, keysFile } = guarded;
  const { modelStreamInfer: method } = GRPCInferenceService.method;
  const client = new Client(server.grpcAddress!, credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set('x-api-key', keys.predict);
  const stream = client.makeBidiStreamRequest(
    `/${method.parent.typeName}/${method.name}`,
    (modelName: string) => Buffer.from(toBinary(method.input, create(method.input, { modelName }))),
    (bytes) => fromBinary(method.output, bytes).errorMessage,
    metadata,
  );
  const ask = () =>
    new Promise<string>((resolve) => {
      stream.once('data', resolve);
      stream.write('none');
    });
  const watching = await fetch(`${server.restAddress}/nearfar/v1/events`, { headers: { 'x-api-key': keys.read } });
  let isOver = false;
  const reading = (async () => {
    for await (const _ of watching.body!);
    isOver = true;
  })();
  const before = await ask();

  await writeApiKeys(
    keysFile,
    stored.filter(({ roles: [role] }) => role === 'admin'),
  );
  await expect.poll(ask, { timeout: 5000 }).toMatch(/the API key is not known/);
  // Refused, which those who watch are told.
  const refused = () => fetch(`${server.restAddress}/nearfar/v1/models/none`, { method: 'DELETE', headers: { 'x-api-key': keys.admin } });
  await expect.poll(() => refused().then(() => isOver), { timeout: 5000, interval: 300 }).toBe(true);
  await reading;

  expect(before).toMatch(/none/);
  expect(before).not.toMatch(/API key/);
  stream.on('error', () => {}).cancel();
  client.close();
});

test('wrong tokens lock nobody out who comes from the same address', async () => {
  await using folder = await openTempFolder();
  const [issuer, audience, alg] = ['https://issuer.test', 'nearfar', 'ES256'];
  const [right, wrong] = await Promise.all([generateKeyPair(alg), generateKeyPair(alg)]);
  const jwks = join(folder.path, 'jwks.json');
  await writeFile(jwks, JSON.stringify({ keys: [{ ...(await exportJWK(right.publicKey)), kid: 'k', alg, use: 'sig' }] }));
  await using guarded = await openGuardedServer({ authentication: { jwt: { issuer, audience, jwks } } });
  const ask = async ({ privateKey }: typeof right) => {
    const token = await new SignJWT({ sub: 'alice', roles: ['read'] })
      .setProtectedHeader({ alg, kid: 'k' })
      .setIssuer(issuer)
      .setAudience(audience)
      .setExpirationTime('5m')
      .sign(privateKey);
    return (await fetch(`${guarded.server.restAddress}/nearfar/v1/models`, { headers: { authorization: `Bearer ${token}` } })).status;
  };

  const refused = new Set<number>();
  for (let tried = 0; tried < 30; tried++) refused.add(await ask(wrong));

  expect([...refused]).toEqual([401, 429]);
  expect(await ask(right)).toBe(200);
});

test('without authentication, calls of a proxy and of a page whose name leads here are not of this machine', async () => {
  await using folder = await openTempFolder();
  const server = await startServer({
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 'off',
    modelsRoot: folder.path,
    cacheDir: join(folder.path, 'cache'),
    logLevel: 'silent',
    lameDuckMs: 0,
  });
  const statusOf = (method: string, path: string, headers: Readonly<Record<string, string>>) =>
    new Promise<number | undefined>((resolve, reject) => {
      const sent = request(server.restAddress + path, { method, headers }, (response) => resolve(response.resume().statusCode));
      sent.on('error', reject).end();
    });
  const change = (headers: Readonly<Record<string, string>>) => statusOf('DELETE', '/nearfar/v1/models/none', headers);
  const spoken = { 'x-real-ip': '192.0.2.1', via: '1.1 proxy', 'x-forwarded-host': 'a.test', 'x-forwarded-proto': 'https' };

  const statuses = [];
  for (const [name, value] of Object.entries(spoken)) statuses.push(await change({ [name]: value }));
  const ofNames = [
    await change({ host: 'models.example.com' }),
    await statusOf('GET', '/nearfar/v1/history', { host: 'evil.example:8501' }),
  ];
  const ofHere = [await change({}), await change({ host: 'LOCALHOST:8501' }), await change({ host: '[::1]:8501' })];
  await server.close();

  expect([...statuses, ...ofNames]).toEqual(Array(6).fill(403));
  expect(ofHere).toEqual([404, 404, 404]);
});

test('a secret of sessions is as long as it is in bytes, which are no text', async () => {
  await using folder = await openTempFolder();
  const sessionSecretFile = join(folder.path, 'secret');
  await writeFile(sessionSecretFile, Buffer.alloc(11, 0xff));

  await expect(openGuardedServer({ authentication: { sessionSecretFile } })).rejects.toThrow(/at least 32 random bytes/);
});

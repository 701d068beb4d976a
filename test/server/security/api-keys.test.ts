import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { describe, expect, test } from 'vitest';
import { ApiKeys } from '../../../src/server/security/api-keys.ts';
import { FailedLogins } from '../../../src/server/security/failed-logins.ts';
import { changeApiKeys, createApiKey, readApiKeys, writeApiKeys } from '../../../src/server/security/index.ts';
import { copyEveryday10 } from '../../support/everyday10.ts';
import { openTempFolder } from '../../support/model-folder.ts';
import { openGuardedServer } from './support.ts';

const log = { info: () => {}, error: () => {} };

/** The status of a call with a key. */
async function get(address: string | undefined, path: string, key: string, init: RequestInit = {}) {
  const response = await fetch(address + path, { ...init, headers: { authorization: `Bearer ${key}`, ...init.headers } });
  return { status: response.status, headers: response.headers, body: await response.text() };
}

describe('a file of API keys', () => {
  test('holds no key, and finds each by itself alone', async () => {
    await using folder = await openTempFolder();
    const file = join(folder.path, 'keys.json');
    const [one, two] = [
      createApiKey({ name: 'one', roles: ['predict'] }),
      createApiKey({ name: 'two', roles: ['operate'], models: ['m'] }),
    ];
    await writeApiKeys(file, [one.stored, two.stored]);

    const keys = new ApiKeys({ file, log });

    expect(JSON.stringify(readApiKeys(file))).not.toContain(one.key.slice(17));
    expect(keys.find(one.key)).toMatchObject({ name: 'key:one', roles: new Set(['predict']) });
    expect(keys.find(two.key)).toMatchObject({ name: 'key:two', roles: new Set(['operate', 'read']), models: new Set(['m']) });
    // The id of one with the secret of the other, and texts that are no keys.
    const crossed = one.key.slice(0, 17) + two.key.slice(17);
    expect([crossed, one.key.slice(0, -1), `${one.key}A`, '', 'nfk_', 'é'.repeat(60)].map((key) => keys.find(key))).toEqual(
      Array(6).fill(undefined),
    );
  });

  test('is followed: a key that is taken out of it, or past its time, is refused; a file that is wrong changes nothing', async () => {
    await using folder = await openTempFolder();
    const file = join(folder.path, 'keys.json');
    let now = Date.parse('2026-01-01T00:00:00Z');
    const kept = createApiKey({ name: 'kept', roles: ['read'], expiresAt: '2026-01-01T01:00:00.000Z' });
    const revoked = createApiKey({ name: 'revoked', roles: ['read'] });
    await writeApiKeys(file, [kept.stored, revoked.stored]);
    const keys = new ApiKeys({ file, log, now: () => now });

    await writeApiKeys(file, [kept.stored]);
    const before = keys.find(revoked.key)?.name;
    now += 1000;
    const after = keys.find(revoked.key)?.name;
    await writeFile(file, '{"schemaVersion": 1, "keys": [');
    now += 1000;
    const stays = keys.find(kept.key)?.name;
    now += 3_600_000;

    expect([before, after, stays, keys.find(kept.key)]).toEqual(['key:revoked', undefined, 'key:kept', undefined]);
  });

  test('is changed by one at a time: no key is lost, and none that was taken back comes again', async () => {
    await using folder = await openTempFolder();
    const file = join(folder.path, 'new', 'keys.json');
    const [old, ...others] = ['old', 'a', 'b', 'c', 'd'].map((name) => createApiKey({ name, roles: ['read'] }).stored);
    await changeApiKeys(file, () => [old!]);

    await Promise.all([
      ...others.map((key) => changeApiKeys(file, (before) => [...before, key])),
      changeApiKeys(file, (before) => before.filter(({ name }) => name !== 'old')),
    ]);

    expect(
      readApiKeys(file)
        .map(({ name }) => name)
        .sort(),
    ).toEqual(['a', 'b', 'c', 'd']);
  });

  test.each([
    ['no JSON', 'nothing'],
    [
      'a role that there is not',
      JSON.stringify({ schemaVersion: 1, keys: [{ ...createApiKey({ name: 'a', roles: ['predict'] }).stored, roles: ['root'] }] }),
    ],
    [
      'a key where its hash should be',
      JSON.stringify({ schemaVersion: 1, keys: [{ ...createApiKey({ name: 'a', roles: ['predict'] }).stored, sha256: 'nfk_canary' }] }),
    ],
  ])('with %s ends the start, and the reason does not hold what is in it', async (_, text) => {
    await using folder = await openTempFolder();
    const file = join(folder.path, 'keys.json');
    await writeFile(file, text);

    expect(() => new ApiKeys({ file, log })).toThrow(/holds no API keys/);
    expect(() => new ApiKeys({ file, log })).not.toThrow(/canary/);
  });
});

describe('a running server', () => {
  test('refuses a key a second after it was taken back, over HTTP and gRPC, and takes a new one', async () => {
    await using guarded = await openGuardedServer();
    const { server, keys, stored, keysFile } = guarded;
    const client = new Client(server.grpcAddress!, credentials.createInsecure());
    const codeOf = (key: string) => callCode(client, '/inference.GRPCInferenceService/ServerMetadata', key);
    const before = [(await get(server.restAddress, '/v2', keys.read)).status, await codeOf(keys.read)];
    const added = createApiKey({ name: 'added', roles: ['read'] });

    await writeApiKeys(keysFile, [...stored.filter(({ name }) => name !== 'the-read'), added.stored]);
    await expect.poll(async () => (await get(server.restAddress, '/v2', keys.read)).status, { timeout: 5000 }).toBe(401);

    expect(before).toEqual([200, status.OK]);
    expect(await codeOf(keys.read)).toBe(status.UNAUTHENTICATED);
    expect((await get(server.restAddress, '/v2', added.key)).status).toBe(200);
    client.close();
  });

  test('keeps to the models, the rate and the quota of a key', async () => {
    await using guarded = await openGuardedServer(
      { backends: ['onnx-cpu'], engineThreads: 1, inlineRunsBelowMs: 0 },
      { models: ['everyday10', 'gone'], dailyQuota: 2 },
    );
    const { server, keys, folder } = guarded;
    await copyEveryday10(join(folder, 'everyday10'), '1');
    await copyEveryday10(join(folder, 'other'), '1');
    await expect.poll(() => server.servables.names().length, { timeout: 20_000 }).toBe(2);
    await server.whenReady();
    const body = JSON.stringify({ instances: [Array(32).fill(Array(32).fill([0, 0, 0]))] });
    const ask = (model: string) =>
      get(server.restAddress, `/v1/models/${model}:predict`, keys.predict, {
        method: 'POST',
        body,
        headers: { 'content-type': 'application/json' },
      });
    const client = new Client(server.grpcAddress!, credentials.createInsecure());

    const other = await ask('other');
    const answers = [await ask('everyday10'), await ask('everyday10'), await ask('everyday10')];

    expect([other.status, JSON.parse(other.body)]).toEqual([
      403,
      expect.objectContaining({ code: 'permission-denied', error: 'key:the-predict may not ask for model other' }),
    ]);
    expect(answers.map((answer) => answer.status)).toEqual([200, 200, 429]);
    expect(Number(answers[2]?.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(JSON.parse(answers[2]?.body ?? '')).toMatchObject({ code: 'rate-limited', details: { limit: 2 } });
    // Views of all models are for keys of all models.
    expect((await get(server.restAddress, '/nearfar/v1/models', keys.read)).status).toBe(403);
    expect((await get(server.restAddress, '/v1/models/everyday10', keys.read)).status).toBe(200);
    expect((await get(server.restAddress, '/v1/models/other/versions/1', keys.read)).status).toBe(403);
    expect((await get(server.restAddress, '/models/other/1/manifest.json', keys.predict)).status).toBe(403);
    expect((await get(server.restAddress, '/models/everyday10/1/manifest.json', keys.predict)).headers.get('cache-control')).toMatch(
      /^private/,
    );
    // ModelMetadataRequest { name: "other" } and { name: "gone" }.
    expect(await callCode(client, '/inference.GRPCInferenceService/ModelMetadata', keys.predict, named('other'))).toBe(
      status.PERMISSION_DENIED,
    );
    expect(await callCode(client, '/inference.GRPCInferenceService/ModelMetadata', keys.predict, named('gone'))).toBe(status.NOT_FOUND);
    expect(await callCode(client, '/inference.GRPCInferenceService/RepositoryIndex', keys.read)).toBe(status.PERMISSION_DENIED);
    // GetModelStatusRequest { model_spec { name: "other" } }, and ModelInferRequest { model_name: "everyday10" } beyond the quota.
    const spec = Buffer.concat([Buffer.from([10, 7]), named('other')]);
    expect(await callCode(client, '/tensorflow.serving.ModelService/GetModelStatus', keys.read, spec)).toBe(status.PERMISSION_DENIED);
    expect(await callCode(client, '/inference.GRPCInferenceService/ModelInfer', keys.predict, named('everyday10'))).toBe(
      status.RESOURCE_EXHAUSTED,
    );
    client.close();
  });

  test('writes down who changed something, and who was not allowed to; a flood of those leaves a bounded trace', async () => {
    await using guarded = await openGuardedServer();
    const { server, keys } = guarded;
    const put = (key: string) =>
      get(server.restAddress, '/nearfar/v1/models/m', key, { method: 'PUT', body: JSON.stringify({ base_path: '/nowhere' }) });
    await put(keys.operate);
    for (let sent = 0; sent < 80; sent++) await put(keys.predict);
    await fetch(`${server.restAddress}/nearfar/v1/models/m`, { method: 'DELETE' });

    const all = JSON.parse((await get(server.restAddress, '/nearfar/v1/history?limit=1000', keys.read)).body);
    const entries = all.entries.filter((entry: { model: string }) => entry.model === 'm');

    expect(entries.at(-1)).toMatchObject({ who: 'key:the-operate (127.0.0.1)', action: 'change', model: 'm', outcome: 'failed' });
    expect(entries.at(-2)).toMatchObject({ who: 'key:the-predict (127.0.0.1)', action: 'refuse', model: 'm', outcome: 'failed' });
    expect(entries.at(-2)).toMatchObject({
      to: { call: 'PUT /nearfar/v1/models/m' },
      message: expect.stringMatching(/^this needs the role operate/),
    });
    // A minute may have begun meanwhile.
    expect(entries.length).toBeLessThanOrEqual(1 + 2 * 20);
  });

  test('takes changes on the public port from this machine alone, unless it is told otherwise', async () => {
    await using apart = await openGuardedServer({ adminAddress: { host: '127.0.0.1', port: 0 } });
    await using open = await openGuardedServer({ adminAddress: { host: '127.0.0.1', port: 0 }, changesOnPublicPort: true });
    const remove = async (address: string | undefined, key: string) =>
      (await get(address, '/nearfar/v1/models/m', key, { method: 'DELETE' })).status;

    expect(await remove(apart.server.restAddress, apart.keys.admin)).toBe(403);
    expect(await remove(`http://${apart.server.adminAddress}`, apart.keys.admin)).toBe(404);
    expect(await remove(`http://${apart.server.adminAddress}`, apart.keys.read)).toBe(403);
    expect(await remove(`http://${apart.server.adminAddress}`, 'nothing')).toBe(401);
    expect(await remove(open.server.restAddress, open.keys.operate)).toBe(404);
  });

  test('lets a client be wrong so many times, and takes right keys of it all the same', async () => {
    await using guarded = await openGuardedServer();
    const { server, keys } = guarded;
    const answers = [];
    for (let tried = 0; tried < 25; tried++) answers.push(await get(server.restAddress, '/v2', `nfk_0123456789ab_${'x'.repeat(43)}`));

    const statuses = answers.map((answer) => answer.status);
    expect(statuses.slice(0, 20)).toEqual(Array(20).fill(401));
    expect(statuses.at(-1)).toBe(429);
    expect(Number(answers.at(-1)?.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await get(server.restAddress, '/v2', keys.predict)).status).toBe(200);
  });
});

test('failed log-ins of one client are forgiven by and by, and are not those of another', () => {
  let now = 0;
  const logins = new FailedLogins(() => now);
  for (let tried = 0; tried < 20; tried++) logins.record('a');

  expect(() => logins.assertMayTry('a')).toThrow(/too many/);
  expect(() => logins.assertMayTry('b')).not.toThrow();
  now += 3000;
  expect(() => logins.assertMayTry('a')).not.toThrow();
});

/** A message whose first field is a name. */
function named(name: string): Buffer {
  return Buffer.concat([Buffer.from([10, name.length]), Buffer.from(name)]);
}

function callCode(client: Client, path: string, key: string, message: Buffer = Buffer.alloc(0)): Promise<number> {
  const metadata = new Metadata();
  metadata.set('x-api-key', key);
  const bytes = (value: Buffer) => value;
  return new Promise((resolve) => {
    client.makeUnaryRequest(path, bytes, bytes, message, metadata, (error: ServiceError | null) => resolve(error?.code ?? status.OK));
  });
}

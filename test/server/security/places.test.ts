import { mkdir, symlink } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { serveBucket } from '../../support/bucket-server.ts';
import { copyEveryday10 } from '../../support/everyday10.ts';
import { openTempFolder } from '../../support/model-folder.ts';
import { openGuardedServer } from './support.ts';

// Where those who operate models can have the server look: nowhere that it was not told of when it started.

test('models of calls lie in folders that are allowed, wherever links lead, and in no place of the network', async () => {
  await using outside = await openTempFolder();
  await using inside = await openTempFolder();
  await copyEveryday10(join(outside.path, 'secret'), '1');
  await copyEveryday10(join(inside.path, 'shared'), '1');
  await symlink(join(outside.path, 'secret'), join(inside.path, 'link'));
  await mkdir(`${inside.path}-neighbour`);
  await using guarded = await openGuardedServer({ allowedModelRoots: [inside.path], backends: ['onnx-cpu'], engineThreads: 1 });
  let reached = 0;
  const internal = createServer((_, response) => {
    reached++;
    response.end('{}');
  });
  await new Promise<void>((resolve) => internal.listen(0, '127.0.0.1', resolve));
  const put = async (basePath: string) => {
    const response = await fetch(`${guarded.server.restAddress}/nearfar/v1/models/m`, {
      method: 'PUT',
      headers: { 'x-api-key': guarded.keys.operate },
      body: JSON.stringify({ base_path: basePath }),
    });
    const { code } = (await response.json()) as { code?: string };
    return code ?? response.status;
  };

  const refused = [
    join(outside.path, 'secret'),
    `file://${join(outside.path, 'secret')}`,
    join(inside.path, 'link'),
    `${inside.path}/../${outside.path.split('/').at(-1)}/secret`,
    `${inside.path}-neighbour`,
    '/proc',
    `http://127.0.0.1:${(internal.address() as AddressInfo).port}/models/m`,
    `http://localhost:${(internal.address() as AddressInfo).port}/models/m`,
    'http://169.254.169.254/latest/meta-data',
    'http://[::1]:80/m',
    's3://bucket/m',
  ];
  for (const basePath of refused) expect([basePath, await put(basePath)]).toEqual([basePath, 'permission-denied']);
  expect(reached).toBe(0);
  expect(await put(join(inside.path, 'shared'))).toBe(200);
  internal.close();
});

test('models of calls lie under the prefix that the server was started with, in no other of the bucket and in no other bucket', async () => {
  await using bucket = await serveBucket();
  const asked: string[] = [];
  bucket.intercept = (_, key) => void asked.push(key);
  for (const [name, value] of Object.entries(bucket.environment)) vi.stubEnv(name, value);
  onTestFinished(() => void vi.unstubAllEnvs());
  await using guarded = await openGuardedServer({ modelsRoot: 's3://bucket/models' });

  for (const basePath of ['s3://bucket/models/../secret', 's3://bucket/models/../../other/m', 's3://bucket/models/..']) {
    const { status } = await fetch(`${guarded.server.restAddress}/nearfar/v1/models/m`, {
      method: 'PUT',
      headers: { 'x-api-key': guarded.keys.operate },
      body: JSON.stringify({ base_path: basePath }),
    });
    expect([basePath, status]).toEqual([basePath, 400]);
  }
  // Listings are asked for at the bucket itself.
  expect(asked.filter((key) => !/^bucket\/(models\/.*)?$/.test(key))).toEqual([]);
});

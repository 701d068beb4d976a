import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { parseVersions } from '../../src/core/index.ts';
import { connectRepository, type PublishOptions, publish, readVersions, verify } from '../../src/publish/index.ts';
import { type BucketServer, serveBucket } from '../support/bucket-server.ts';
import { keyPair } from '../support/keys.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { scalingModel } from '../support/onnx-writer.ts';

const repository = 's3://models/shop';

describe('publishing into a bucket', () => {
  let server: BucketServer;
  let folder: Awaited<ReturnType<typeof openTempFolder>>;

  beforeEach(async () => {
    server = await serveBucket();
    folder = await openTempFolder();
    await writeFile(join(folder.path, 'model.onnx'), scalingModel(2));
    for (const [name, value] of Object.entries(server.environment)) vi.stubEnv(name, value);
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    await server[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });
  const publishScale = (options: Partial<PublishOptions> = {}) =>
    publish([join(folder.path, 'model.onnx')], { name: 'scale', repository, ...options });

  test('gives the digest that a folder gets, and what can be verified and read again', async () => {
    const { privateKey, publicKey } = keyPair();

    const inBucket = await publishScale({ signingKey: privateKey });
    const inFolder = await publishScale({ repository: join(folder.path, 'repository') });

    expect(inBucket.pin).toEqual(inFolder.pin);
    const report = await verify(repository, 'scale', '1', { trust: [publicKey] });
    expect(report.pin).toEqual(inBucket.pin);
    expect(server.objects.get('models/shop/scale/1/manifest.json')?.cacheControl).toBe('public, max-age=31536000, immutable');
    expect(server.objects.get('models/shop/scale/versions.json')?.cacheControl).toBe('no-cache');
  });

  test('takes the next free number, by every folder there is, and never overwrites', async () => {
    await publishScale({ version: '1' });
    await publishScale({ version: '7' });
    await publishScale({ version: '12' });
    const { pin } = await publishScale({ labels: ['canary'] });
    const before = new Map(server.objects);
    const again = publishScale({ version: '7' });

    expect(pin.version).toBe('13');
    await expect(again).rejects.toMatchObject({ code: 'already-exists', details: { version: '7' } });
    expect(server.objects).toEqual(before);
  });

  test('publishers at once get a number each, and versions.json knows all of them', async () => {
    const reports = await Promise.all([1, 2, 3].map(() => publishScale()));

    const versions = await readVersions(connectRepository(repository), 'scale');
    expect(reports.map(({ pin }) => pin.version).sort()).toEqual(['1', '2', '3']);
    expect(versions.versions).toEqual(expect.arrayContaining(reports.map(({ pin }) => pin)));
  });

  test('leaves nothing behind when an upload fails', async () => {
    server.intercept = (method, key) => {
      if (method === 'PUT' && key.endsWith('golden/1.out.safetensors')) throw new Error('disk full');
    };

    const publishing = publishScale();

    await expect(publishing).rejects.toMatchObject({ code: 'network', message: expect.stringContaining('disk full') });
    expect([...server.objects.keys()]).toEqual([]);
  });

  test('nobody sees the version in versions.json before its last file is there', async () => {
    const seen: string[][] = [];
    server.intercept = (method, key) => {
      if (method !== 'PUT' || key.endsWith('manifest.json')) return;
      const list = server.objects.get('models/shop/scale/versions.json');
      seen.push(list ? parseVersions(list.bytes).versions.map(({ version }) => version) : []);
    };

    await publishScale();

    expect(seen.length).toBeGreaterThan(3);
    expect(seen.flat()).toEqual([]);
  });

  test('says which keys it needs, and what the service refuses', async () => {
    vi.stubEnv('AWS_ACCESS_KEY_ID', 'another-key');
    await expect(publishScale()).rejects.toMatchObject({ code: 'permission-denied', message: expect.stringContaining('no signature') });

    vi.stubEnv('AWS_ACCESS_KEY_ID', '');
    await expect(publishScale()).rejects.toMatchObject({ code: 'unauthenticated' });
  });
});

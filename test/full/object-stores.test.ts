import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { connectS3, publish } from '../../src/publish/index.ts';
import { startServer } from '../../src/server/index.ts';
import { createStoreOpener } from '../../src/server/repository/index.ts';
import { freePort } from '../support/free-port.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { scalingModel } from '../support/onnx-writer.ts';
import { testStoreContract } from '../support/repository-store-contract.ts';
import { until } from '../support/serving.ts';

// Real services that speak S3: the gateway of Versity (`go install github.com/versity/versitygw/cmd/versitygw@v1.8.0`; NEARFAR_VERSITYGW names the
// binary), which checks signatures, and moto (`pip install 'moto[server]'`, in the Python that NEARFAR_PYTHON names).

const python = process.env['NEARFAR_PYTHON'] ?? 'python3';
const gateway = process.env['NEARFAR_VERSITYGW'] ?? 'versitygw';
const keys = { AWS_ACCESS_KEY_ID: 'near', AWS_SECRET_ACCESS_KEY: 'far-secret-key' };

interface Service {
  readonly isThere: boolean;
  readonly start: (folder: string, port: number) => ChildProcess;
}

const services: Record<string, Service> = {
  'the gateway of Versity': {
    isThere: spawnSync(gateway, ['--version']).status === 0,
    start: (folder, port) =>
      spawn(gateway, [
        ...['--access', keys.AWS_ACCESS_KEY_ID, '--secret', keys.AWS_SECRET_ACCESS_KEY, '--port', `127.0.0.1:${port}`, '--quiet'],
        ...['posix', '--sidecar', join(folder, 'meta'), join(folder, 'data')],
      ]),
  },
  moto: {
    isThere: spawnSync(python, ['-c', 'import moto.server, flask']).status === 0,
    start: (_, port) => spawn(python, ['-m', 'moto.server', '-H', '127.0.0.1', '-p', String(port)]),
  },
};

async function isReady(address: string | undefined, model: string): Promise<boolean> {
  return (await fetch(`${address}/v2/models/${model}/ready`)).ok;
}

for (const [name, { isThere, start }] of Object.entries(services)) {
  if (!isThere) console.warn(`${name} is not here: stores are not tried on it`);
  describe.runIf(isThere)(name, () => {
    let folder: Awaited<ReturnType<typeof openTempFolder>>;
    let service: ChildProcess;
    let environment: Record<string, string>;
    let buckets = 0;

    /** A request with the keys; also a bucket is made so. */
    const send = async (location: string, key: string, init: { method: string; body?: Uint8Array<ArrayBuffer> }) => {
      const place = connectS3(location, environment);
      const url = place.urlOf(key);
      const response = await fetch(url, { ...init, headers: await place.sign(url, { method: init.method }) });
      if (!response.ok) throw new Error(`${init.method} ${url}: ${response.status} ${await response.text()}`);
    };
    const openBucket = async () => {
      const bucket = `bucket-${buckets++}`;
      await send(`s3://${bucket}`, '', { method: 'PUT' });
      return bucket;
    };

    beforeAll(async () => {
      folder = await openTempFolder();
      for (const part of ['data', 'meta']) await mkdir(join(folder.path, part));
      const port = await freePort();
      service = start(folder.path, port);
      environment = { ...keys, AWS_ENDPOINT_URL: `http://127.0.0.1:${port}` };
      await vi.waitUntil(async () => (await fetch(`http://127.0.0.1:${port}/`).catch(() => undefined)) !== undefined, {
        interval: 50,
        timeout: 30_000,
      });
    }, 40_000);
    afterAll(async () => {
      vi.unstubAllEnvs();
      const ended = once(service, 'exit');
      service.kill();
      await ended;
      await folder[Symbol.asyncDispose]();
    });

    testStoreContract(`S3 of ${name}`, async () => {
      const bucket = await openBucket();
      const location = `s3://${bucket}`;
      return {
        store: createStoreOpener({ redirectHosts: [] }, environment)(`${location}/models`),
        write: (path, bytes) => send(location, `models/${path}`, { method: 'PUT', body: new Uint8Array(bytes) }),
        remove: (path) => send(location, `models/${path}`, { method: 'DELETE' }),
        [Symbol.asyncDispose]: async () => {},
      };
    });

    test('a version that is published into it is served, then the next one, and a plain one beside them', async () => {
      const bucket = await openBucket();
      const repository = `s3://${bucket}/models`;
      for (const [variable, value] of Object.entries(environment)) vi.stubEnv(variable, value);
      vi.stubEnv('AWS_ENDPOINT_URL_S3', environment['AWS_ENDPOINT_URL']);
      const model = join(folder.path, 'model.onnx');
      await writeFile(model, scalingModel(2));
      await publish([model], { name: 'scale', repository });
      await send(`s3://${bucket}`, 'models/plain/1/model.onnx', { method: 'PUT', body: new Uint8Array(scalingModel(3)) });
      await using server = await startServer({
        host: '127.0.0.1',
        restPort: 0,
        grpcPort: 'off',
        modelsRoot: repository,
        cacheDir: join(folder.path, 'cache'),
        backends: ['onnx-cpu'],
        engineThreads: 1,
        storePollMs: 500,
        logLevel: 'silent',
      });
      await Promise.all(['plain', 'scale'].map((known) => vi.waitUntil(() => isReady(server.restAddress, known), { timeout: 30_000 })));

      await writeFile(model, scalingModel(5));
      await publish([model], { name: 'scale', repository, labels: ['stable'] });
      await until(() => server.servables.labels('scale')['stable'] === '2');

      const manifest = await (await fetch(`${server.restAddress}/models/scale/2/manifest.json`)).json();
      expect(manifest).toMatchObject({ name: 'scale', version: '2' });
      const { stores } = await (await fetch(`${server.restAddress}/nearfar/v1/stores`)).json();
      expect(stores.map(({ location, error }: { location: string; error?: string }) => [location, error])).toEqual([
        [repository, undefined],
        [`${repository}/plain`, undefined],
        [`${repository}/scale`, undefined],
      ]);
      const kept = (await readdir(join(folder.path, 'cache/stores'), { recursive: true })).join('\n');
      expect(kept).not.toContain(keys.AWS_SECRET_ACCESS_KEY);
    });

    test.runIf(name !== 'moto')('refuses another key, and says so without it', async () => {
      const bucket = await openBucket();
      const store = createStoreOpener({ redirectHosts: [] }, { ...environment, AWS_SECRET_ACCESS_KEY: 'wrong-secret' })(`s3://${bucket}`);

      const refused = await store.list('').catch((error: unknown) => error);

      expect(refused).toMatchObject({ code: 'permission-denied' });
      expect(JSON.stringify(refused) + String(refused)).not.toMatch(/wrong-secret|Signature=/);
    });
  });
}

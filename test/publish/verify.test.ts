import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { encodeManifest, parseManifest, parseVersions } from '../../src/core/index.ts';
import { connectRepository, createLock, findStrays, inspect, listModels, publish, verify } from '../../src/publish/index.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { scalingModel } from '../support/onnx-writer.ts';

const models = fileURLToPath(new URL('../../models', import.meta.url));

test('the built-in model is whole and gives its golden outputs', async () => {
  const { pin, checks, bytes } = await verify(models, 'everyday10', '1');

  expect(pin).toEqual(parseVersions(new Uint8Array(await readFile(join(models, 'everyday10/versions.json')))).versions[0]);
  expect(bytes).toBeGreaterThan(4_000_000);
  expect(checks.filter(({ agreement }) => agreement).length).toBeGreaterThanOrEqual(3);
});

describe('verify finds', () => {
  test('a flipped byte, by file and chunk', async () => {
    await using repository = await copyEveryday10();
    const weights = join(repository.path, 'everyday10/1/tfjs/weights.bin');
    const bytes = await readFile(weights);
    bytes[300_000]! ^= 1;
    await writeFile(weights, bytes);

    await expect(verify(repository.path, 'everyday10', '1')).rejects.toMatchObject({
      code: 'integrity-mismatch',
      details: { problems: [{ file: 'tfjs/weights.bin', chunk: expect.any(Number) }] },
    });
  });

  test('a missing and a shortened file, both at once', async () => {
    await using repository = await copyEveryday10();
    await rm(join(repository.path, 'everyday10/1/labels.txt'));
    await writeFile(join(repository.path, 'everyday10/1/tfjs/model.json'), '{}');

    await expect(verify(repository.path, 'everyday10', '1')).rejects.toMatchObject({
      code: 'integrity-mismatch',
      details: { problems: [{ file: 'labels.txt' }, { file: 'tfjs/model.json' }] },
    });
  });

  test('a manifest that versions.json does not name', async () => {
    await using repository = await copyEveryday10();
    const path = join(repository.path, 'everyday10/1/manifest.json');
    const manifest = parseManifest(new Uint8Array(await readFile(path)));
    await writeFile(path, encodeManifest({ ...manifest, description: 'another one' }));

    await expect(verify(repository.path, 'everyday10', '1')).rejects.toMatchObject({ code: 'integrity-mismatch' });
  });

  test('a wrong answer, though all digests are right', async () => {
    await using repository = await copyEveryday10();
    const path = join(repository.path, 'everyday10/1/manifest.json');
    const manifest = parseManifest(new Uint8Array(await readFile(path)));
    const [first, second] = manifest.golden;
    const swapped = { ...manifest, golden: [{ signature: 'serving_default', inputs: first!.inputs, outputs: second!.outputs }] };
    await republish(repository.path, encodeManifest(swapped));

    await expect(verify(repository.path, 'everyday10', '1')).rejects.toMatchObject({ code: 'self-test-failed' });
  });

  test('a version that is not published', async () => {
    await expect(verify(models, 'everyday10', '9')).rejects.toMatchObject({ code: 'not-found' });
    await expect(verify(models, 'nothing', '1')).rejects.toMatchObject({ code: 'not-found' });
  });

  test('what a killed publisher left behind', async () => {
    await using repository = await copyEveryday10();
    await mkdir(join(repository.path, 'everyday10/.publishing-1'));
    await mkdir(join(repository.path, 'everyday10/2'));

    expect(await findStrays(repository.path, 'everyday10')).toEqual(['.publishing-1', '2']);
  });
});

describe('lock', () => {
  test('pins the stable version, a label or a number, from a folder', async () => {
    await using folder = await openTempFolder();
    const source = join(folder.path, 'model.onnx');
    const options = { name: 'scale', repository: join(folder.path, 'models') };
    await writeFile(source, scalingModel(2));
    const first = await publish([source], options);
    const second = await publish([source], { ...options, labels: ['canary'] });
    const repository = connectRepository(options.repository);

    expect((await createLock(repository, [{ name: 'scale' }])).models['scale']).toEqual(first.pin);
    expect((await createLock(repository, [{ name: 'scale', label: 'canary' }])).models['scale']).toEqual(second.pin);
    expect((await createLock(repository, [{ name: 'scale', version: '2' }])).models['scale']).toEqual(second.pin);
    await expect(createLock(repository, [{ name: 'scale', version: '3' }])).rejects.toMatchObject({ code: 'not-found' });
    expect(await listModels(options.repository)).toEqual(['scale']);
  });

  test('reads a repository over HTTP, and tells what is not there from what cannot be had', async () => {
    await using server = await serve(models);

    const lock = await createLock(connectRepository(`${server.url}/`), [{ name: 'everyday10' }]);

    expect(lock).toEqual(await createLock(connectRepository(models), [{ name: 'everyday10' }]));
    await expect(createLock(connectRepository(server.url), [{ name: 'nothing' }])).rejects.toMatchObject({ code: 'not-found' });
    await expect(createLock(connectRepository('http://127.0.0.1:9'), [{ name: 'everyday10' }])).rejects.toMatchObject({ code: 'network' });
    const cutOff = new Response(new ReadableStream({ pull: (controller) => controller.error(new TypeError('terminated')) }));
    await expect(
      createLock(
        connectRepository('http://cut.example', async () => cutOff),
        [{ name: 'everyday10' }],
      ),
    ).rejects.toMatchObject({ code: 'network', message: expect.stringContaining('terminated') });
  });
});

describe('inspect', () => {
  test('tells a model, a version and a source apart', async () => {
    expect(await inspect(join(models, 'everyday10'))).toMatchObject({ kind: 'model', versions: { name: 'everyday10' } });
    expect(await inspect(join(models, 'everyday10/1'))).toMatchObject({
      kind: 'version',
      variants: [{ id: 'tfjs-float32' }, { id: 'onnx-float32' }],
    });
    expect(await inspect(join(models, 'everyday10/1/onnx/model.onnx'))).toMatchObject({
      kind: 'source',
      format: 'onnx',
      precision: 'float32',
    });
    await expect(inspect(join(models, 'nothing'))).rejects.toMatchObject({ code: 'not-found' });
  });
});

async function copyEveryday10(): Promise<{ path: string } & AsyncDisposable> {
  const folder = await openTempFolder();
  await cp(join(models, 'everyday10'), join(folder.path, 'everyday10'), { recursive: true });
  return folder;
}

/** Replaces the manifest and lets versions.json name it, as a wrong publisher might. */
async function republish(repository: string, manifest: Uint8Array<ArrayBuffer>): Promise<void> {
  const { digestOf, encodeVersions } = await import('../../src/core/index.ts');
  const path = join(repository, 'everyday10/versions.json');
  const versions = parseVersions(new Uint8Array(await readFile(path)));
  await writeFile(join(repository, 'everyday10/1/manifest.json'), manifest);
  await writeFile(path, encodeVersions({ ...versions, versions: [{ version: '1', digest: await digestOf(manifest) }] }));
}

/** A plain static host on loopback. */
async function serve(folder: string): Promise<{ url: string } & AsyncDisposable> {
  const server = createServer((request, response) => {
    readFile(join(folder, new URL(request.url ?? '/', 'http://localhost').pathname)).then(
      (bytes) => response.end(bytes),
      () => response.writeHead(404).end(),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

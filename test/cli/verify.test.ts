import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { build } from '../../scripts/build.mjs';
import { digestOf, encodeManifest, encodeVersions, parseManifest, parseVersions } from '../../src/core/index.ts';
import { publish } from '../../src/publish/index.ts';
import { keyPair } from '../support/keys.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { repositoryRoot, runCommand } from '../support/packed.ts';
import { serveStatic } from '../support/static-server.ts';

const source = join(repositoryRoot, 'test/fixtures/keras/dense.keras');
const keys = keyPair();

let folder: Awaited<ReturnType<typeof openTempFolder>>;
let models: string;
let trusted: string;
beforeAll(async () => {
  await build();
  folder = await openTempFolder();
  models = join(folder.path, 'models');
  trusted = join(folder.path, 'key.pem');
  await writeFile(trusted, keys.publicKey);
  await publish([source], { name: 'dense', repository: models, signingKey: keys.privateKey });
});
afterAll(() => folder[Symbol.asyncDispose]());

interface Check {
  readonly variant: string;
  readonly backend: string;
  readonly agreement?: { absolute: number };
  readonly skipped?: { code: string; message: string };
}

describe('verify', () => {
  test('tries every backend there may be, and tells why it left one out', async () => {
    const [version] = await verify('dense', '--models', models, '--trust', trusted);

    const checks: Check[] = version.checks;
    expect(checks.map(({ backend }) => backend)).toEqual([
      ...['tfjs-wasm', 'tfjs-cpu', 'tfjs-webgpu'],
      ...['onnx-cpu', 'onnx-wasm', 'onnx-webgpu', 'onnx-cuda', 'onnx-tensorrt'],
    ]);
    for (const backend of ['tfjs-wasm', 'tfjs-cpu', 'onnx-cpu', 'onnx-wasm']) {
      expect(checks.find((check) => check.backend === backend)?.agreement?.absolute, backend).toBeLessThan(1e-5);
    }
    for (const { skipped, agreement } of checks) expect(agreement ?? skipped?.message).toBeTruthy();
  });

  test('takes a software GPU where it is allowed to, and a repository behind a URL', async ({ skip }) => {
    await using server = await serveStatic(models);

    const [version] = await verify('dense@1', '--models', server.origin, '--trust', trusted, '--allow-software-adapter');

    const onGpu = (version.checks as Check[]).filter(({ backend }) => backend.endsWith('webgpu'));
    const [missing] = onGpu.flatMap(({ skipped }) => (skipped?.code === 'device-unfit' ? [skipped.message] : []));
    if (missing !== undefined) skip(missing);
    expect(onGpu.map(({ backend, agreement }) => [backend, (agreement?.absolute ?? 1) < 1e-4])).toEqual([
      ['tfjs-webgpu', true],
      ['onnx-webgpu', true],
    ]);
  });
});

describe('verify exits with 1', () => {
  test('for a signature by another key, and a key that is not there', async () => {
    const other = join(folder.path, 'other.pem');
    await writeFile(other, keyPair().publicKey);

    expect(await fail('dense', '--models', models, '--trust', other)).toMatchObject({ code: 'signature-invalid' });
    expect(await fail('dense', '--models', models, '--trust', 'no-key.pem')).toMatchObject({ code: 'not-found' });
  });

  test('for a changed byte', async () => {
    await using copy = await copyModels();
    const weights = join(copy.version, 'tfjs-float32/weights.bin');
    const manifest = parseManifest(new Uint8Array(await readFile(join(copy.version, 'manifest.json'))));
    const path = Object.keys(manifest.files).find((name) => name.endsWith('weights.bin')) ?? weights;
    const bytes = await readFile(join(copy.version, path));
    bytes[5]! ^= 1;
    await writeFile(join(copy.version, path), bytes);

    expect(await fail('dense', '--models', copy.path)).toMatchObject({
      code: 'integrity-mismatch',
      details: { problems: [{ file: path }] },
    });
  });

  test('for golden outputs that are not reproduced, naming every backend', async () => {
    await using copy = await copyModels();
    const manifestPath = join(copy.version, 'manifest.json');
    const manifest = parseManifest(new Uint8Array(await readFile(manifestPath)));
    const [first, second] = manifest.golden;
    const swapped = encodeManifest({ ...manifest, golden: [{ ...first!, outputs: second!.outputs }] });
    const listPath = join(copy.path, 'dense/versions.json');
    const versions = parseVersions(new Uint8Array(await readFile(listPath)));
    await writeFile(manifestPath, swapped);
    await writeFile(listPath, encodeVersions({ ...versions, versions: [{ version: '1', digest: await digestOf(swapped) }] }));

    const error = await fail('dense', '--models', copy.path);

    expect(error.code).toBe('self-test-failed');
    const failed = (error.details.failures as Check[]).map(({ backend }) => backend);
    expect(failed).toEqual(expect.arrayContaining(['tfjs-wasm', 'tfjs-cpu', 'onnx-cpu', 'onnx-wasm']));
  });
});

/** A repository of its own, to be damaged. */
async function copyModels() {
  const own = await openTempFolder();
  await cp(models, own.path, { recursive: true });
  return { ...own, version: join(own.path, 'dense/1') };
}

async function verify(...args: string[]) {
  const { stdout, status } = await nearfar('verify', ...args, '--json');
  expect(status, stdout).toBe(0);
  return JSON.parse(stdout).versions;
}

async function fail(...args: string[]) {
  const { stdout, status } = await nearfar('verify', ...args, '--json');
  expect(status).toBe(1);
  return JSON.parse(stdout).error;
}

function nearfar(...args: string[]) {
  return runCommand(process.execPath, [join(repositoryRoot, 'dist/cli/main.js'), ...args]);
}

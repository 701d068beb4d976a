import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeFile, digestOf, encodeManifest, encodeVersions, type Manifest } from '../../src/core/index.ts';
import { launchBrowser, openTestPage, type TestBrowser } from '../support/browser.ts';
import { createFaultyRepository, type Fault, type FaultyRepository } from '../support/fault-server.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { builtInEveryday10 } from '../support/parity-models.ts';
import { type FarServer, models, openFarServer, pageMounts } from './far-server.ts';

// A fault at each stage of the way to an answer, and who answers instead, inside one deadline. Faults under a running model (a GPU that is
// lost, a worker that hangs) are in failover.test.ts, those that no browser can be made to have on demand (out of memory) in test/sdk.

const mounts = await pageMounts();
const builtIn = await builtInEveryday10();
let browser: TestBrowser;
let far: FarServer;
beforeAll(async () => {
  [browser, far] = await Promise.all([launchBrowser(), openFarServer()]);
});
afterAll(async () => {
  await browser[Symbol.asyncDispose]();
  await far[Symbol.asyncDispose]();
});

type Visit = Parameters<typeof window.nearfar.createClient>[0] & { mode?: import('nearfar').Mode };

/** A visit of a page without a cache: opens the model, classifies once the device has come as far as it does. */
async function visit({ server, backends = ['tfjs-wasm'], mode = 'prefer-on-device' }: Partial<Visit>, repository: FaultyRepository) {
  await using opened = await openTestPage(browser, { mounts: { ...mounts, '/models/': repository.handler } });
  const seen = await opened.page.evaluate(
    async ({ server, backends, mode }) => {
      const client = window.nearfar.createClient({ models: '/models', server: server ?? [], backends });
      const fallbacks: string[] = [];
      client.addEventListener('fallback', ({ detail }) => fallbacks.push(detail.code));
      const model = await client.open('everyday10', { mode });
      const classify = () => model.classify('/photos/boat.png', { deadlineMs: 10_000 });
      let { run, predictions } = await classify();
      while (mode === 'prefer-on-device' && run.fallback?.code === 'unavailable') ({ run, predictions } = await classify());
      await client.close();
      return { run, label: predictions[0]?.label, fallbacks };
    },
    { server, backends, mode },
  );
  expect(opened.logs.filter((line) => line.startsWith('uncaught'))).toEqual([]);
  return seen;
}

const faulty = (fault?: (path: string) => Fault | undefined, folder = models) => {
  const repository = createFaultyRepository(folder, '/models/');
  if (fault) repository.fail(fault);
  return repository;
};
const onWeights = (fault: Fault) => (path: string) => (path.endsWith('weights.bin') ? fault : undefined);

test.each([
  ['probe: no GPU that may be used', undefined, ['tfjs-webgpu'], 'device-unfit'],
  ['download: the weights cannot be had', onWeights({ refuse: true }), ['tfjs-wasm'], 'network'],
  ['download: the connection breaks again and again', onWeights({ cutAfterBytes: 0 }), ['tfjs-wasm'], 'network'],
  ['verify: the weights are not what the manifest names', onWeights({ flipByteAt: 1_000 }), ['tfjs-wasm'], 'integrity-mismatch'],
] as const)('%s: the server answers, with the reason', async (_, fault, backends, code) => {
  const { run, fallbacks } = await visit({ server: far.url, backends }, faulty(fault));

  expect(run).toMatchObject({ leg: 'server', fallback: { from: 'on-device', code } });
  expect(fallbacks).toContain(code);
});

test('manifest: a repository that is away is stood in for by the server, which has the same files', async () => {
  const { run } = await visit(
    { server: far.url },
    faulty(() => ({ refuse: true })),
  );

  expect(run).toMatchObject({ leg: 'server', digest: builtIn.pin.digest, fallback: { from: 'on-device', code: 'network' } });
});

test.each([
  [
    'compile: an operator that no engine knows',
    async (folder: string, manifest: Manifest): Promise<Manifest> => {
      const path = join(folder, 'tfjs/model.json');
      const changed = new TextEncoder().encode(
        (await readFile(path, 'utf8')).replaceAll(/"op": ?"(_Fused)?Conv2D"/g, '"op":"NoSuchOperator"'),
      );
      await writeFile(path, changed);
      return { ...manifest, files: { ...manifest.files, 'tfjs/model.json': await describeFile(changed) } };
    },
    /unsupported|internal/,
  ],
  [
    'warm-up: golden examples that the backend does not reproduce',
    async (_: string, manifest: Manifest): Promise<Manifest> => ({
      ...manifest,
      variants: manifest.variants.map((variant) =>
        variant.format === 'onnx' ? variant : { ...variant, tolerance: { absolute: 0, relative: 0 } },
      ),
    }),
    /self-test-failed/,
  ],
])('%s: the server answers, with the reason', async (_, change, code) => {
  await using folder = await openTempFolder();
  const version = join(folder.path, 'everyday10/1');
  await cp(join(builtIn.repository, 'everyday10/1'), version, { recursive: true });
  const bytes = encodeManifest(await change(version, builtIn.manifest));
  await writeFile(join(version, 'manifest.json'), bytes);
  const versions = {
    schemaVersion: 1 as const,
    name: 'everyday10',
    versions: [{ version: '1', digest: await digestOf(bytes) }],
    labels: { stable: '1' },
  };
  await writeFile(join(folder.path, 'everyday10/versions.json'), encodeVersions(versions));
  await using own = await openFarServer(folder.path);

  const { run, fallbacks } = await visit({ server: own.url }, faulty(undefined, folder.path));

  expect(run).toMatchObject({ leg: 'server', fallback: { from: 'on-device', code: expect.stringMatching(code) } });
  expect(fallbacks.some((each) => code.test(each))).toBe(true);
});

test.each([
  ['refused', 'network'],
  ['503', 'unavailable'],
  ['cut', 'network'],
  ['garbage', 'internal'],
] as const)('prefer-server, predictions are %s: the device answers the same call, with the reason', async (how, code) => {
  far.failPredictions(how);
  try {
    const { run, fallbacks } = await visit({ server: far.url, mode: 'prefer-server' }, faulty());

    expect(run).toMatchObject({ leg: 'on-device', backend: 'wasm', fallback: { from: 'server', code } });
    expect(fallbacks).toContain(code);
  } finally {
    far.failPredictions(undefined);
  }
});

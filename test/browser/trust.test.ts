import { cp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Request } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { LockFile } from '../../src/core/index.ts';
import { openSigner } from '../../src/publish/sign.ts';
import { launchBrowser, openTestPage, type TestBrowser, type TestPage } from '../support/browser.ts';
import { createFaultyRepository, type FaultyRepository } from '../support/fault-server.ts';
import { keyPair } from '../support/keys.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { builtInEveryday10 } from '../support/parity-models.ts';

// Lock and signature in a real browser, by its own WebCrypto. What does not match runs nowhere: no weight is fetched where the manifest is
// refused, and no model is made of bytes that are refused.

const publisher = keyPair();
const stranger = keyPair('P-384');
const builtIn = await builtInEveryday10();
const lock: LockFile = { lockfileVersion: 1, models: { everyday10: { ...builtIn.pin } } };

let browser: TestBrowser;
let folder: Awaited<ReturnType<typeof openTempFolder>>;
let repository: FaultyRepository;
let requests: Request[] = [];
beforeAll(async () => {
  folder = await openTempFolder();
  await cp(join(builtIn.repository, 'everyday10'), join(folder.path, 'everyday10'), { recursive: true });
  const signature = await openSigner(publisher.privateKey)({ manifest: builtIn.manifest, digest: builtIn.pin.digest });
  await writeFile(join(folder.path, 'everyday10/1/manifest.sig'), signature);
  repository = createFaultyRepository(folder.path, '/models/');
  browser = await launchBrowser();
  browser.context.on('request', (request) => requests.push(request));
});
afterAll(async () => {
  await browser?.[Symbol.asyncDispose]();
  await folder?.[Symbol.asyncDispose]();
});

/** A page of an origin of its own, so with an empty cache, in front of a repository that fails as said. */
async function openPage(fail: Parameters<FaultyRepository['fail']>[0] = () => undefined): Promise<TestPage> {
  repository.fail(fail);
  const opened = await openTestPage(browser, { mounts: { '/models/': repository.handler } });
  requests = [];
  return opened;
}

/** Opens the model on wasm and classifies a white picture. */
function visit({ page }: TestPage, trust: readonly string[] | undefined, pinned: LockFile | undefined) {
  return page.evaluate(
    async ([trust, lock]) => {
      const options = { models: '/models', backends: ['tfjs-wasm'], ...(trust && { trust }), ...(lock && { lock }) } as const;
      const client = window.nearfar.createClient(options);
      const phases: string[] = [];
      client.addEventListener('phase', ({ detail }) => phases.push(detail.phase));
      try {
        const model = await client.open('everyday10', { mode: 'only-on-device' });
        const { predictions, run } = await model.classify(new ImageData(64, 64));
        return { answered: predictions.length > 0, digest: run.digest, phases };
      } catch (error) {
        return { code: (error as { code?: string }).code, phases };
      } finally {
        await client.close();
      }
    },
    [trust, pinned] as const,
  );
}

const fetched = () => requests.map((request) => new URL(request.url()).pathname).filter((path) => path.startsWith('/models/'));
const weights = '/models/everyday10/1/tfjs/weights.bin';

test('a version that a trusted key signed answers, again without the network', async () => {
  await using tab = await openPage();

  const first = await visit(tab, [stranger.publicKey, publisher.publicKey], undefined);
  const firstFetched = fetched();
  repository.fail(() => ({ refuse: true }));
  await tab.reload();
  const offline = await visit(tab, [publisher.publicKey], undefined);

  expect(first).toMatchObject({ answered: true, digest: builtIn.pin.digest });
  expect(firstFetched).toContain('/models/everyday10/1/manifest.sig');
  expect(offline).toMatchObject({ answered: true, digest: builtIn.pin.digest });
});

test('a cached version is refused by a page that trusts other keys', async () => {
  await using tab = await openPage();
  await visit(tab, [publisher.publicKey], undefined);
  await tab.reload();

  const answer = await visit(tab, [stranger.publicKey], undefined);

  expect(answer).toMatchObject({ code: 'signature-invalid' });
  expect(answer.phases).not.toContain('compile');
});

const flipped = { flipByteAt: 200 };
test.each([
  ['a manifest that nobody trusted signed', 'signature-invalid', [stranger.publicKey], undefined, () => undefined],
  [
    'a manifest without its signature',
    'signature-invalid',
    [publisher.publicKey],
    undefined,
    (path: string) => (path.endsWith('manifest.sig') ? { status: 404 } : undefined),
  ],
  [
    'a changed signature',
    'signature-invalid',
    [publisher.publicKey],
    undefined,
    (path: string) => (path.endsWith('manifest.sig') ? flipped : undefined),
  ],
  [
    'a manifest that is not the published one',
    'integrity-mismatch',
    undefined,
    undefined,
    (path: string) => (path.endsWith('manifest.json') ? flipped : undefined),
  ],
  [
    'a manifest that is not the locked one',
    'integrity-mismatch',
    undefined,
    lock,
    (path: string) => (path.endsWith('manifest.json') ? flipped : undefined),
  ],
  [
    'a lock that names another digest',
    'integrity-mismatch',
    undefined,
    { lockfileVersion: 1, models: { everyday10: { version: '1', digest: `sha256:${'1'.repeat(64)}` } } },
    () => undefined,
  ],
] as const)('%s is refused before a weight is fetched', async (_, code, trust, pinned, fail) => {
  await using tab = await openPage(fail);

  const answer = await visit(tab, trust, pinned);

  expect(answer).toMatchObject({ code });
  expect(answer.phases).not.toContain('compile');
  expect(fetched()).not.toContain(weights);
});

test('a chunk that does not match, however often it is fetched, is refused before a model is made of it', async () => {
  await using tab = await openPage((path) => (path.endsWith('weights.bin') ? flipped : undefined));

  const answer = await visit(tab, undefined, lock);

  expect(answer).toMatchObject({ code: 'integrity-mismatch' });
  expect(answer.phases).not.toContain('compile');
  expect(fetched()).toContain(weights);
});

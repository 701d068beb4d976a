import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { launchBrowser, type TestBrowser } from '../support/browser.ts';
import { copyEveryday10 } from '../support/everyday10.ts';
import { openTempFolder } from '../support/model-folder.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

let browser: TestBrowser;
let demo: Demo;

beforeAll(async () => {
  [browser, demo] = await Promise.all([launchBrowser(), startDemo()]);
});

afterAll(async () => {
  await browser?.[Symbol.asyncDispose]();
  await demo?.stop();
});

test('the demo command prints its addresses and one real prediction', () => {
  expect(demo.report.grpc).toMatch(/^127\.0\.0\.1:\d+$/);
  expect(demo.report.answer).toMatchObject({ model_name: 'everyday10', model_version: '1', predictions: [{ label: 'ship' }, {}, {}] });
});

test('the page, its scripts and its workers are served with a policy that requires Trusted Types', async () => {
  const page = await (await fetch(demo.report.rest)).text();
  const script = /assets\/index-[\w-]+\.js/.exec(page)?.[0];

  const answers = await Promise.all(['', script, 'service-worker.js'].map((path) => fetch(`${demo.report.rest}/${path}`)));

  for (const { headers } of answers) expect(headers.get('content-security-policy')).toContain("require-trusted-types-for 'script'");
});

test('the page answers near on WebGPU from the pinned version, and shows how it got ready', async () => {
  await using visit = await openDemo('?software&backend=tfjs-webgpu');

  await expectLeg(visit.page, 'on-device', 'tfjs webgpu');

  expect(await topLabel(visit.page)).toBe('airplane');
  expect(await visit.page.locator('#phases li[data-state="done"]').allInnerTexts()).toEqual([
    'download',
    'verify',
    'compile',
    'warm-up',
    'ready',
  ]);
  expect(await visit.page.locator('#cache-report').innerText()).toContain('complete');
  expect(visit.problems).toEqual([]);
  await takePicture(visit.page, 'demo-near');
});

test('the same photo on the server: same version, same answer, shown as far', async () => {
  await using visit = await openDemo('?mode=only-server');

  await expectLeg(visit.page, 'server', 'onnx cpu');

  expect(await topLabel(visit.page)).toBe('airplane');
  expect(await visit.page.locator('#badge').innerText()).toContain(demo.report.answer.digest.slice(0, 19));
  await takePicture(visit.page, 'demo-far');
});

test('comparing both legs shows the same first class and digest, and a difference within the tolerance', async () => {
  await using visit = await openDemo();
  await expectLeg(visit.page, 'on-device');

  await visit.page.click('#compare');
  const summary = visit.page.locator('#comparison p');
  await summary.getByText('Largest difference').waitFor();

  const text = await summary.innerText();
  expect(text).toContain('same first class, same digest');
  expect(Number(/Largest difference (\S+)/.exec(text)?.[1])).toBeLessThan(1e-4);
});

test('losing the device moves the answer to the server, with the reason on the page', async () => {
  await using visit = await openDemo('?software&backend=tfjs-webgpu');
  await expectLeg(visit.page, 'on-device');

  await visit.page.click('#lose-gpu');

  await expectLeg(visit.page, 'server');
  expect(await visit.page.locator('#fallback').innerText()).toMatch(/device-lost/);
  expect(await topLabel(visit.page)).toBe('airplane');
});

test.each([
  ['?backend=tfjs-wasm&mode=only-on-device', 'on-device', 'tfjs-wasm runs on the processor'],
  ['?mode=only-server', 'server', 'the server answers alone'],
] as const)('with %s there is no device to lose, and the page says why', async (query, leg, reason) => {
  await using visit = await openDemo(query);
  await expectLeg(visit.page, leg);

  await visit.page.locator('#fault-note').getByText(reason).waitFor();

  expect(await visit.page.locator('#lose-gpu').isDisabled()).toBe(true);
  expect(await topLabel(visit.page)).toBe('airplane');
});

test('in the mode without a device the cache panel says that nothing is kept', async () => {
  await using visit = await openDemo('?mode=only-server');
  await expectLeg(visit.page, 'server');

  expect(await visit.page.locator('#cache-report').innerText()).toContain('this browser keeps nothing');
});

test('a comparison with the server cut says so and leaves the answer as it is', async () => {
  await using visit = await openDemo('?mode=only-on-device');
  await expectLeg(visit.page, 'on-device');
  await visit.page.click('#cut-server');

  await visit.page.click('#compare');

  await visit.page.locator('#comparison').getByText('network: the server leg was cut').waitFor();
  await expectLeg(visit.page, 'on-device');
  expect(await topLabel(visit.page)).toBe('airplane');
});

test('where nobody is left to answer, no bars of an earlier answer stay', async () => {
  await using visit = await openDemo('?mode=only-server');
  await expectLeg(visit.page, 'server');

  await visit.page.click('#cut-server');

  await visit.page.locator('#badge').getByText('no answer').waitFor();
  expect(await visit.page.locator('#bars li').count()).toBe(0);
});

test('a repository of other models: the pickers offer what classifies pictures, and the first of them answers', async () => {
  await using folder = await openTempFolder();
  await copyEveryday10(join(folder.path, 'tensors'), '1', (manifest) => {
    manifest['name'] = 'tensors';
    delete manifest['tasks'];
  });
  for (const name of ['things', 'vehicles']) {
    await copyEveryday10(join(folder.path, name), '1', (manifest) => Object.assign(manifest, { name }));
  }
  const other = await startDemo('--models', folder.path);
  const page = await browser.newPage();
  try {
    await page.goto(other.report.rest);
    await expectLeg(page, 'on-device', 'things version 1');
    expect(await page.locator('#model option').allInnerTexts()).toEqual(['things', 'vehicles']);

    await page.goto(`${other.report.rest}/?model=vehicles`);
    await expectLeg(page, 'on-device', 'vehicles version 1');
    expect(await topLabel(page)).toBe('airplane');
  } finally {
    await page.close();
    await other.stop();
  }
});

test('a new choice ends the opening before it, without an error on the page', async () => {
  await using visit = await openDemo('?mode=only-on-device');
  await expectLeg(visit.page, 'on-device');

  await visit.page.locator('#backend').selectOption('tfjs-wasm');
  await visit.page.locator('#backend').selectOption('onnx-wasm');

  await expectLeg(visit.page, 'on-device', 'onnx wasm');
  expect(await visit.page.locator('#log').innerText()).not.toContain('error');
  expect(visit.problems).toEqual([]);
});

test('with the server cut, a page that prefers the server answers on the device', async () => {
  await using visit = await openDemo('?mode=prefer-server');
  await expectLeg(visit.page, 'server');

  await visit.page.click('#cut-server');

  await expectLeg(visit.page, 'on-device');
  expect(await visit.page.locator('#fallback').innerText()).toMatch(/network/);
});

test('the page works by keyboard alone and on a phone in the dark', async () => {
  await using visit = await openDemo();
  await expectLeg(visit.page, 'on-device');
  await visit.page.setViewportSize({ width: 390, height: 844 });
  await visit.page.emulateMedia({ colorScheme: 'dark' });

  await visit.page.locator('button[data-sample="frog"]').focus();
  await visit.page.keyboard.press('Enter');
  await visit.page.locator('#bars li').first().getByText('frog').waitFor();

  const overflow = await visit.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  expect(overflow).toBeLessThanOrEqual(0);
  await takePicture(visit.page, 'demo-phone-dark');
});

test('after the first visit the page works with no server at all', async () => {
  await using own = await launchBrowser();
  const short = await startDemo();
  const page = await own.newPage();
  await page.goto(short.report.rest);
  await expectLeg(page, 'on-device');
  await page.evaluate(async () => {
    await navigator.serviceWorker.ready;
    // Precaching is part of the installation, so an active worker has everything.
  });
  await short.stop();

  await page.reload();
  await expectLeg(page, 'on-device');
  // A link with a query is the same page.
  await page.goto(`${short.report.rest}/?mode=only-on-device`);
  await expectLeg(page, 'on-device');

  expect(await topLabel(page)).toBe('airplane');
});

interface DemoReport {
  readonly rest: string;
  readonly grpc: string;
  readonly answer: { readonly digest: string; readonly predictions: readonly { readonly label: string }[] };
}

interface Demo {
  readonly report: DemoReport;
  stop(): Promise<void>;
}

/** Runs what `npm start` runs after the build, on free ports. */
async function startDemo(...args: readonly string[]): Promise<Demo> {
  const child = spawn(process.execPath, ['dist/cli/main.js', 'demo', '--http-port', '0', '--grpc-port', '0', '--json', ...args], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const report = await readReport(child);
  return {
    report,
    stop: async () => {
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
    },
  };
}

async function readReport(child: ChildProcess): Promise<DemoReport> {
  let output = '';
  let problems = '';
  child.stderr?.on('data', (data) => {
    problems += data;
  });
  for await (const data of child.stdout ?? []) {
    output += data;
    if (output.endsWith('}\n')) return JSON.parse(output);
  }
  throw new Error(`the demo ended early:\n${output}${problems}`);
}

async function openDemo(query = '') {
  const page = await browser.newPage();
  const problems: string[] = [];
  page.on('pageerror', (error) => problems.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error') problems.push(message.text());
  });
  await page.setViewportSize({ width: 1200, height: 1000 });
  await page.goto(`${demo.report.rest}/${query}`);
  return { page, problems, [Symbol.asyncDispose]: () => page.close() };
}

async function expectLeg(page: Page, leg: 'on-device' | 'server', backend = ''): Promise<void> {
  const badge = page.locator('#badge');
  try {
    await badge.locator(`.leg[data-leg="${leg}"]`).waitFor({ timeout: 60_000 });
    if (backend) await badge.getByText(backend).waitFor({ timeout: 60_000 });
  } catch (cause) {
    throw new Error(`expected ${leg} ${backend}, the page says: ${await badge.innerText()}\n${await page.locator('#log').innerText()}`, {
      cause,
    });
  }
}

async function topLabel(page: Page): Promise<string> {
  return await page.locator('#bars li .label').first().innerText();
}

/** Keeps the pictures of the README up to date when `NEARFAR_UPDATE_PICTURES` is set. */
async function takePicture(page: Page, name: string): Promise<void> {
  const picture = await page.screenshot({
    fullPage: true,
    ...(process.env['NEARFAR_UPDATE_PICTURES'] ? { path: `${root}docs/images/${name}.png` } : {}),
  });
  expect(picture.byteLength).toBeGreaterThan(20_000);
}

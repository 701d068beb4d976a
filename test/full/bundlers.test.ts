import { copyFile, cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { launchBrowser, type TestBrowser } from '../support/browser.ts';
import { type PackedPackage, packPackage, repositoryRoot, runCommand } from '../support/packed.ts';
import { classifyInApp, readAnswer } from '../support/packed-app.ts';
import { serveStatic } from '../support/static-server.ts';

// The packed tarball in fresh apps of other bundlers than Vite (packed.test.ts), set up as docs/bundlers.md says and served with the
// Content-Security-Policy it names. Needs the package registry.

let packed: PackedPackage;
let browser: TestBrowser;
beforeAll(async () => {
  packed = await packPackage();
  const inApp = (path: string) => join(packed.folder, path);
  await cp(join(repositoryRoot, 'test/packed/bundler-apps'), packed.folder, { recursive: true });
  const own = JSON.parse(await readFile(inApp('package.json'), 'utf8')) as object;
  await writeFile(inApp('package.json'), JSON.stringify({ ...own, dependencies: { nearfar: `file:${packed.tarball}` } }));
  const env = { ONNXRUNTIME_NODE_INSTALL: 'skip', NEXT_TELEMETRY_DISABLED: '1' };
  const { status, stderr } = await runCommand('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund'], {
    cwd: packed.folder,
    env,
  });
  expect(status, stderr).toBe(0);
  await cp(inApp('node_modules/nearfar/models'), inApp('public/models'), { recursive: true });
  await sharp(join(repositoryRoot, 'demo/samples/airplane.svg')).resize(640, 640).png().toFile(inApp('photo.png'));
  browser = await launchBrowser();
});
afterAll(async () => {
  await browser?.[Symbol.asyncDispose]();
  await packed?.[Symbol.asyncDispose]();
});

const backends = ['tfjs-webgpu', 'onnx-webgpu', 'tfjs-wasm', 'onnx-wasm'] as const;

const strict = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; img-src 'self' data:";
/** The import map and the data of Next.js are inline scripts, which need a hash or a nonce of the application's. */
const withInlineScripts = strict.replace("script-src 'self'", "script-src 'self' 'unsafe-inline'");

describe.each([
  ['webpack', ['webpack.js'], strict],
  ['esbuild', ['esbuild.js'], strict],
  ['rollup', ['rollup.js'], strict],
  ['plain', ['plain.js'], withInlineScripts],
  ['next-turbopack', ['next.js', 'turbopack'], withInlineScripts],
  ['next-webpack', ['next.js', 'webpack'], withInlineScripts],
] as const)('a fresh %s app', (bundler, command, csp) => {
  const output = () => join(packed.folder, 'out', bundler);
  const serve = () =>
    serveStatic(join(packed.folder, 'public'), { mounts: { '/app/': output() }, headers: { 'content-security-policy': csp } });

  beforeAll(async () => {
    const built = await runCommand(process.execPath, [...command], { cwd: packed.folder, env: { NODE_ENV: 'production' } });
    expect(built, `${built.stdout}\n${built.stderr}`).toMatchObject({ status: 0 });
    await copyFile(join(packed.folder, 'photo.png'), join(output(), 'photo.png'));
  });

  test.each(backends)('classifies a photo on %s', async (backend) => {
    await using server = await serve();

    const { predictions, run } = await classifyInApp(browser, `${server.origin}/app/index.html`, backend);

    expect(predictions[0]).toMatchObject({ label: 'airplane' });
    expect(run).toMatchObject({ leg: 'on-device', model: 'everyday10', version: '1' });
    expect(`${run.engine}-${run.backend}`).toBe(backend);
    expect(run).not.toHaveProperty('fallback');
  });

  test.each(['tfjs-wasm', 'onnx-wasm'])(
    'starts and classifies on %s without a network, from the service worker of examples/offline',
    async (backend) => {
      for (const name of ['service-worker.js', 'precache-list.mjs']) {
        await copyFile(join(repositoryRoot, 'examples/offline', name), join(output(), name));
      }
      const listed = await runCommand(process.execPath, ['precache-list.mjs', '.', '/app/'], { cwd: output() });
      expect(listed).toMatchObject({ status: 0, stderr: '' });
      await using server = await serve();
      const page = await browser.newPage();
      onTestFinished(() => page.close());
      const options = encodeURIComponent(JSON.stringify({ backends: [backend] }));
      await page.goto(`${server.origin}/app/index.html?options=${options}`);
      await readAnswer(page, []);
      await page.evaluate(async () => {
        const { installing } = await navigator.serviceWorker.register('./service-worker.js');
        await new Promise<void>((resolve, reject) => {
          installing?.addEventListener('statechange', () => {
            if (installing.state === 'activated') resolve();
            if (installing.state === 'redundant') reject(new Error('the service worker was not installed'));
          });
        });
      });
      await server.goOffline();

      await page.reload();
      const { predictions, run } = await readAnswer(page, []);

      expect(predictions[0]).toMatchObject({ label: 'airplane' });
      expect(run).toMatchObject({ leg: 'on-device', cache: 'hit' });
      expect(`${run.engine}-${run.backend}`).toBe(backend);
    },
  );
});

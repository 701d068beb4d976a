import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { launchBrowser, type TestBrowser } from '../support/browser.ts';
import { type PackedPackage, packPackage, repositoryRoot, runCommand } from '../support/packed.ts';
import { classifyInApp } from '../support/packed-app.ts';
import { serveStatic } from '../support/static-server.ts';

// The packed tarball in fresh apps of other bundlers than Vite, set up as docs/bundlers.md says. Needs the package registry.

let packed: PackedPackage;
let browser: TestBrowser;
beforeAll(async () => {
  packed = await packPackage();
  const inApp = (path: string) => join(packed.folder, path);
  await cp(join(repositoryRoot, 'test/packed/bundler-apps'), packed.folder, { recursive: true });
  const own = JSON.parse(await readFile(inApp('package.json'), 'utf8')) as object;
  await writeFile(inApp('package.json'), JSON.stringify({ ...own, dependencies: { nearfar: `file:${packed.tarball}` } }));
  // The optional packages are for servers.
  const args = ['install', '--omit=optional', '--prefer-offline', '--no-audit', '--no-fund'];
  const { status, stderr } = await runCommand('npm', args, { cwd: packed.folder });
  expect(status, stderr).toBe(0);
  await cp(inApp('node_modules/nearfar/models'), inApp('public/models'), { recursive: true });
  await sharp(join(repositoryRoot, 'demo/samples/airplane.svg')).resize(640, 640).png().toFile(inApp('public/photo.png'));
  browser = await launchBrowser();
});
afterAll(async () => {
  await browser?.[Symbol.asyncDispose]();
  await packed?.[Symbol.asyncDispose]();
});

describe.each(['webpack', 'esbuild'])('a fresh %s app', (bundler) => {
  beforeAll(async () => {
    const built = await runCommand(process.execPath, [`${bundler}.js`], { cwd: packed.folder });
    expect(built, `${built.stdout}\n${built.stderr}`).toMatchObject({ status: 0 });
  });

  test.each(['tfjs-webgpu', 'onnx-webgpu', 'tfjs-wasm', 'onnx-wasm'])('classifies a photo on %s', async (backend) => {
    await using server = await serveStatic(join(packed.folder, 'public'), { mounts: { '/app/': join(packed.folder, 'out', bundler) } });

    const { predictions, run } = await classifyInApp(browser, `${server.origin}/app/index.html`, backend);

    expect(predictions[0]).toMatchObject({ label: 'airplane' });
    expect(run).toMatchObject({ leg: 'on-device', model: 'everyday10', version: '1' });
    expect(`${run.engine}-${run.backend}`).toBe(backend);
    expect(run).not.toHaveProperty('fallback');
  });
});

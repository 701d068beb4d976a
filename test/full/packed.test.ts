import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { launchBrowser, type TestBrowser } from '../support/browser.ts';
import { type PackedPackage, packPackage, repositoryRoot, runCommand } from '../support/packed.ts';
import { classifyInApp } from '../support/packed-app.ts';

// What a user does: a fresh project, `npm install` of the tarball with npm's defaults (install scripts run, and may
// fail), Vite, and a photo. Needs the package registry.

let packed: PackedPackage;
let browser: TestBrowser;
let install: Awaited<ReturnType<typeof runCommand>>;
beforeAll(async () => {
  packed = await packPackage();
  await cp(join(repositoryRoot, 'test/packed/vite-app'), packed.folder, { recursive: true });
  await dependOn({ nearfar: `file:${packed.tarball}` }, { vite: await versionHere('vite') });
  install = await runCommand('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund'], { cwd: packed.folder });
  await cp(join(packed.folder, 'node_modules/nearfar/models'), join(packed.folder, 'public/models'), { recursive: true });
  await sharp(join(repositoryRoot, 'demo/samples/airplane.svg')).resize(640, 640).png().toFile(join(packed.folder, 'public/photo.png'));
  browser = await launchBrowser();
});
afterAll(async () => {
  await browser?.[Symbol.asyncDispose]();
  await packed?.[Symbol.asyncDispose]();
});

async function dependOn(dependencies: Record<string, string>, devDependencies: Record<string, string>): Promise<void> {
  const path = join(packed.folder, 'package.json');
  const own = JSON.parse(await readFile(path, 'utf8')) as object;
  await writeFile(path, JSON.stringify({ ...own, dependencies, devDependencies }, undefined, 2));
}

async function versionHere(name: string): Promise<string> {
  const path = join(repositoryRoot, 'node_modules', name, 'package.json');
  return (JSON.parse(await readFile(path, 'utf8')) as { version: string }).version;
}

test('npm install succeeds with its defaults, whether or not the optional packages can be had', async () => {
  expect(install, install.stderr).toMatchObject({ status: 0 });
  expect(existsSync(join(packed.folder, 'node_modules/nearfar/dist/sdk/index.js'))).toBe(true);
});

test('ONNXRUNTIME_NODE_INSTALL=skip keeps onnxruntime-node where its install script cannot download', async () => {
  const env = { ONNXRUNTIME_NODE_INSTALL: 'skip' };
  await using second = await packPackage();
  await writeFile(join(second.folder, 'package.json'), JSON.stringify({ name: 'app', private: true, type: 'module' }));

  const result = await runCommand('npm', ['install', second.tarball, '--prefer-offline', '--no-audit', '--no-fund'], {
    cwd: second.folder,
    env,
  });
  const program = `const { InferenceSession } = await import('onnxruntime-node'); console.log(typeof InferenceSession.create)`;
  const loaded = await runCommand(process.execPath, ['--input-type=module', '--eval', program], { cwd: second.folder });

  expect(result, result.stderr).toMatchObject({ status: 0 });
  expect(loaded).toMatchObject({ status: 0, stdout: 'function\n' });
});

test('npx nearfar --help runs the installed command', async () => {
  const { status, stdout, stderr } = await runCommand('npx', ['nearfar', '--help'], { cwd: packed.folder });

  expect({ status, stderr }).toMatchObject({ status: 0 });
  expect(stdout).toContain('serve');
});

describe.each(['tfjs-webgpu', 'tfjs-wasm', 'onnx-wasm'])('a fresh Vite app classifies a photo on %s', (backend) => {
  test('in dev', async () => {
    await using server = await startVite(['dev']);

    const answer = await classifyInApp(browser, server.url, backend);

    expect(answer).toMatchObject({
      predictions: [{ label: 'airplane' }, {}, {}],
      run: { leg: 'on-device', model: 'everyday10', version: '1' },
    });
    expect(`${answer.run.engine}-${answer.run.backend}`).toBe(backend);
  });

  test('in build', async () => {
    const built = await runVite(['build']);
    expect(built, built.stderr).toMatchObject({ status: 0 });
    await using server = await startVite(['preview']);

    const answer = await classifyInApp(browser, server.url, backend);

    expect(answer).toMatchObject({
      predictions: [{ label: 'airplane' }, {}, {}],
      run: { leg: 'on-device', model: 'everyday10', version: '1' },
    });
    expect(`${answer.run.engine}-${answer.run.backend}`).toBe(backend);
  });
});

test('vite build needs no configuration', async () => {
  await writeFile(join(packed.folder, 'empty.config.js'), 'export default {};');
  const built = await runVite(['build', '--config', 'empty.config.js', '--outDir', 'plain']);
  expect(built, built.stderr).toMatchObject({ status: 0 });
  await using server = await startVite(['preview', '--outDir', 'plain']);

  const { predictions } = await classifyInApp(browser, server.url, 'tfjs-wasm');

  expect(predictions[0]).toMatchObject({ label: 'airplane' });
});

function runVite(args: readonly string[]): ReturnType<typeof runCommand> {
  return runCommand(process.execPath, [join(packed.folder, 'node_modules/vite/bin/vite.js'), ...args], { cwd: packed.folder });
}

/** Starts `vite dev` or `vite preview` on a free port. */
async function startVite(command: readonly string[]): Promise<{ url: string } & AsyncDisposable> {
  const vite = join(packed.folder, 'node_modules/vite/bin/vite.js');
  const args = [vite, ...command, '--host', '127.0.0.1', '--port', '0', '--strictPort', '--clearScreen', 'false'];
  const child = spawn(process.execPath, args, {
    cwd: packed.folder,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0' },
  });
  const url = await readAddress(child);
  return {
    url,
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null) return;
      child.kill();
      await once(child, 'exit');
    },
  };
}

async function readAddress(child: ChildProcess): Promise<string> {
  let output = '';
  for await (const text of child.stdout ?? []) {
    output += String(text);
    const url = /http:\/\/127\.0\.0\.1:\d+\//.exec(output)?.[0];
    if (url !== undefined) return url;
  }
  throw new Error(`vite ended without an address:\n${output}`);
}

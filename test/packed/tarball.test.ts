import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { cp, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type PackedPackage, packPackage, repositoryRoot, runCommand } from '../support/packed.ts';

// A project that installed the tarball where the install scripts of the optional packages failed: npm leaves those
// packages out. Links to the packages already here stand for the download, so that this needs no network.
const optional = ['onnxruntime-node', 'webgpu'];

let packed: PackedPackage;
beforeAll(async () => {
  packed = await packPackage();
  const modules = join(packed.folder, 'node_modules');
  await mkdir(join(modules, 'nearfar'), { recursive: true });
  const extracted = await runCommand('tar', ['-xzf', packed.tarball, '--strip-components=1', '-C', join(modules, 'nearfar')]);
  expect(extracted.stderr).toBe('');
  for (const name of await declaredDependencies()) {
    const link = join(modules, name);
    await mkdir(join(link, '..'), { recursive: true });
    await symlink(join(repositoryRoot, 'node_modules', name), link, 'junction');
  }
  expect(optional.filter((name) => existsSync(join(modules, name)))).toEqual([]);
  await writeFile(join(packed.folder, 'package.json'), JSON.stringify({ name: 'app', private: true, type: 'module' }));
});
afterAll(() => packed[Symbol.asyncDispose]());

async function declaredDependencies(): Promise<string[]> {
  const { dependencies } = JSON.parse(await readFile(join(repositoryRoot, 'package.json'), 'utf8')) as { dependencies: object };
  return Object.keys(dependencies);
}

test.each(['nearfar', 'nearfar/server', 'nearfar/publish', 'nearfar/formats'])(
  '%s imports in Node without the optional packages',
  async (entry) => {
    const program = `const names = Object.keys(await import(${JSON.stringify(entry)})); if (names.length === 0) throw new Error('exports nothing');`;

    const { status, stderr } = await runCommand(process.execPath, ['--input-type=module', '--eval', program], { cwd: packed.folder });

    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  },
);

test('nearfar/react imports where React is there, and says so where it is not', async () => {
  const program = `await import('nearfar/react')`;
  const args = ['--input-type=module', '--eval', program];

  const without = await runCommand(process.execPath, args, { cwd: packed.folder });
  await symlink(join(repositoryRoot, 'node_modules/react'), join(packed.folder, 'node_modules/react'), 'junction');
  const withReact = await runCommand(process.execPath, args, { cwd: packed.folder });

  expect(without.stderr).toContain("Cannot find package 'react'");
  expect(withReact).toMatchObject({ status: 0, stderr: '' });
});

test('the nearfar command runs and names its sub-commands', async () => {
  const cli = join(packed.folder, 'node_modules/nearfar/dist/cli/main.js');

  const { status, stdout, stderr } = await runCommand(process.execPath, [cli, '--help'], { cwd: packed.folder });

  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  for (const name of ['serve', 'publish', 'convert', 'inspect', 'verify', 'diff', 'lock', 'config']) expect(stdout).toContain(name);
});

test('the tarball holds the licence, the built-in model, the pages and the wasm files, and nothing else at the top', async () => {
  const root = join(packed.folder, 'node_modules/nearfar');

  const held = (path: string) => existsSync(join(root, path));

  expect(
    ['LICENSE', 'NOTICE', 'README.md', 'models/everyday10/versions.json', 'dist/demo/index.html'].filter((path) => !held(path)),
  ).toEqual([]);
  expect(held('dist/engines/browser/tfjs-backend-wasm-simd.wasm')).toBe(true);
  expect((await readdir(root)).sort()).toEqual(
    ['CHANGELOG.md', 'LICENSE', 'NOTICE', 'README.md', 'dist', 'models', 'package.json', 'proto', 'schemas'].sort(),
  );
  expect(await readdir(join(root, 'models'))).toEqual(['everyday10']);
});

test("the packed demo page has ONNX Runtime's WebAssembly from its dependency, which the package does not hold twice", async () => {
  const assets = join(packed.folder, 'node_modules/nearfar/dist/demo/assets');
  const names = await readdir(assets);
  const scripts = await Promise.all(names.filter((name) => name.endsWith('.js')).map((name) => readFile(join(assets, name), 'utf8')));
  const runtimes = new Set(scripts.flatMap((script) => script.match(/ort-wasm-simd-threaded[\w.]*-[\w-]{8}\.wasm/g) ?? []));
  const cli = join(packed.folder, 'node_modules/nearfar/dist/cli/main.js');
  const args = [cli, 'demo', '--http-port', '0', '--grpc-port', '0'];
  const child = spawn(process.execPath, args, { cwd: packed.folder, stdio: ['ignore', 'pipe', 'ignore'] });
  let address: string | undefined;
  for await (const line of createInterface(child.stdout)) {
    address = /http:\/\/\S+/.exec(line)?.[0];
    if (address !== undefined) break;
  }

  const sizes = await Promise.all(
    [...runtimes].map(async (name) => {
      const response = await fetch(`${address}/assets/${name}`);
      const own = join(repositoryRoot, 'dist/demo/assets', name);
      return { status: response.status, isSame: Buffer.from(await response.arrayBuffer()).equals(await readFile(own)) };
    }),
  );
  const unknown = await fetch(`${address}/assets/ort-wasm-simd-threaded.none-12345678.wasm`);
  child.kill();
  await once(child, 'exit');

  expect(names.filter((name) => name.startsWith('ort-wasm-'))).toEqual([]);
  expect(sizes).toEqual([
    { status: 200, isSame: true },
    { status: 200, isSame: true },
    { status: 200, isSame: true },
  ]);
  expect(unknown.status).toBe(404);
});

test('publishing with the packed package works away from the repository', async () => {
  const model = join(repositoryRoot, 'models/everyday10/1');
  const sources = join(packed.folder, 'sources');
  await cp(join(model, 'tfjs'), join(sources, 'tfjs'), { recursive: true });
  await cp(join(model, 'labels.txt'), join(sources, 'labels.txt'));
  const cli = join(packed.folder, 'node_modules/nearfar/dist/cli/main.js');
  const args = ['publish', 'sources/tfjs', '--name', 'mine', '--version', '3', '--out', 'repository'];
  const task = ['--task', 'image-classification', '--labels', 'sources/labels.txt'];

  const { status, stderr } = await runCommand(process.execPath, [cli, ...args, ...task], { cwd: packed.folder });

  expect({ status, stderr }).toMatchObject({ status: 0 });
  expect(existsSync(join(packed.folder, 'repository/mine/3/manifest.json'))).toBe(true);
});

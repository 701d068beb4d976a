import { createHash, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';

const repositoryRoot = fileURLToPath(new URL('../..', import.meta.url));
const cache = join(tmpdir(), 'nearfar-test-pages');

/** Rooms that a page can reach; the rest of dist/ changes no page. */
const browserRooms = ['core', 'engines', 'worker', 'sdk', 'react', 'reporter', 'formats'];

/**
 * Builds a page around a module that imports the built package by its own name, with Vite as an application would.
 * Built once for the same package and the same sources beside the module.
 * @param entry Module of the page, relative to the repository's root.
 * @returns the folder that holds index.html.
 */
export async function buildTestPage(entry = 'test/support/page/main.ts'): Promise<string> {
  const module = resolve(repositoryRoot, entry);
  const inputs = [...browserRooms.map((room) => join(repositoryRoot, 'dist', room)), dirname(module), join(repositoryRoot, 'package.json')];
  const folder = join(cache, `${await digestOf(inputs, module)}`);
  if (existsSync(folder)) return folder;

  await removeOldPages();
  const unfinished = `${folder}.${randomUUID()}`;
  await build({
    configFile: false,
    root: repositoryRoot,
    logLevel: 'warn',
    publicDir: false,
    worker: { format: 'es' },
    build: {
      outDir: unfinished,
      emptyOutDir: false,
      target: 'es2022',
      modulePreload: false,
      reportCompressedSize: false,
      chunkSizeWarningLimit: 10_000,
      rolldownOptions: { input: { page: module }, output: { entryFileNames: 'page.js' } },
    },
  });
  await writeFile(join(unfinished, 'index.html'), html);
  // Two test files may build the same page at once: the first rename wins, the other build is dropped.
  await rename(unfinished, folder).catch(() => rm(unfinished, { recursive: true, force: true }));
  return folder;
}

/** No inline script, so that a page can be served with a strict Content-Security-Policy. */
const html = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>nearfar test page</title>
    <link rel="icon" href="data:,">
  </head>
  <body><script type="module" src="./page.js"></script></body>
</html>
`;

async function digestOf(paths: readonly string[], entry: string): Promise<string> {
  const hash = createHash('sha256').update(entry);
  for (const path of paths) {
    for (const file of await filesOf(path)) hash.update(file).update(await readFile(file));
  }
  return hash.digest('hex').slice(0, 24);
}

async function filesOf(path: string): Promise<string[]> {
  if (!existsSync(path)) return [];
  if ((await stat(path)).isFile()) return [path];
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && !/\.(map|d\.ts)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

async function removeOldPages(): Promise<void> {
  await mkdir(cache, { recursive: true });
  const dayAgo = Date.now() - 24 * 3600_000;
  for (const name of await readdir(cache)) {
    const path = join(cache, name);
    const { mtimeMs } = await stat(path);
    if (mtimeMs < dayAgo) await rm(path, { recursive: true, force: true });
  }
}

// Builds the library into dist/ (one tsc project per room, unbundled), the management page into dist/ui and the demo page into dist/demo.
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
/** Those that tsc builds; the page is bundled. */
const rooms = readdirSync(join(root, 'src'), { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && entry.name !== 'ui')
  .map((entry) => entry.name);

/** Builds everything that is out of date. @returns whether every step succeeded. */
export async function build() {
  const unlock = await lock();
  try {
    return buildAll();
  } finally {
    unlock();
  }
}

function buildAll() {
  for (const room of rooms) matchOutputsToSources(room);
  const compiled = run(join(root, 'node_modules/typescript/bin/tsc'), ['--build']);
  copyWasmFiles();
  const cli = join(root, 'dist/cli/main.js');
  if (existsSync(cli)) chmodSync(cli, 0o755);
  return compiled && buildManagementPage() && buildDemo();
}

/** Test files build before they start, several at once: the first does the work, the others wait and find it done. */
async function lock() {
  const path = join(root, '.tsbuild/building');
  mkdirSync(join(root, '.tsbuild'), { recursive: true });
  for (;;) {
    try {
      writeFileSync(path, String(process.pid), { flag: 'wx' });
      return () => rmSync(path, { force: true });
    } catch {
      if (!isHeld(path)) rmSync(path, { force: true });
      await setTimeout(100);
    }
  }
}

/** A build that was killed leaves its lock behind. @param {string} path */
function isHeld(path) {
  try {
    const holder = Number(readFileSync(path, 'utf8'));
    // Written in two steps, created and filled: an empty file is a lock of this moment.
    return holder === 0 || process.kill(holder, 0);
  } catch {
    return false;
  }
}

/**
 * `tsc --build` trusts its own records: it neither notices outputs that were deleted nor deletes outputs whose source
 * is gone, and the latter would be packed.
 * @param {string} room
 */
function matchOutputsToSources(room) {
  const source = join(root, 'src', room);
  const output = join(root, 'dist', room);
  const stems = sourceStems(source);
  const forget = () => forgetRecords(room);
  if (!existsSync(output)) return forget();
  if ([...stems].some((stem) => !existsSync(join(output, `${stem}.js`)))) forget();
  for (const path of filesUnder(output)) {
    const stem = path.replace(/(\.js|\.js\.map|\.d\.ts)$/, '');
    if (stem !== path && !stems.has(stem)) rmSync(join(output, path));
  }
}

/** A room may hold a second project inside, as src/engines/node, whose record is named engines-node. @param {string} room */
function forgetRecords(room) {
  const folder = join(root, '.tsbuild');
  if (!existsSync(folder)) return;
  const records = readdirSync(folder).filter((name) => name === `${room}.tsbuildinfo` || name.startsWith(`${room}-`));
  for (const name of records) rmSync(join(folder, name), { force: true });
}

/** @param {string} folder */
function sourceStems(folder) {
  const sources = filesUnder(folder).filter((path) => /\.tsx?$/.test(path) && !path.endsWith('.d.ts'));
  return new Set(sources.map((path) => path.replace(/\.tsx?$/, '')));
}

/** @param {string} folder */
function filesUnder(folder) {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) => statSync(join(folder, path)).isFile());
}

/** The wasm files that the tfjs engine loads in a browser, where bundlers find them by `new URL(…, import.meta.url)`. */
function copyWasmFiles() {
  const to = join(root, 'dist/engines/browser');
  mkdirSync(to, { recursive: true });
  for (const name of ['tfjs-backend-wasm-simd.wasm', 'tfjs-backend-wasm.wasm']) {
    const from = join(root, 'node_modules/@tensorflow/tfjs-backend-wasm/dist', name);
    if (isNewer(from, join(to, name))) copyFileSync(from, join(to, name));
  }
}

function buildManagementPage() {
  return bundle(['src/ui', 'src/core', 'package-lock.json'], 'dist/ui', ['--config', 'src/ui/vite.config.ts']);
}

function buildDemo() {
  return !existsSync(join(root, 'demo/index.html')) || bundle(['demo', 'dist', 'vite.config.ts', 'package-lock.json'], 'dist/demo');
}

/**
 * Runs Vite where its outputs are older than what they are made of.
 * @param {string[]} from @param {string} to @param {string[]} [options]
 */
function bundle(from, to, options = []) {
  const built = ['dist/ui', 'dist/demo'].map((folder) => join(root, folder));
  const inputs = from.flatMap((path) => filesOf(join(root, path))).filter((path) => !built.some((folder) => path.startsWith(folder)));
  const page = join(root, to, 'index.html');
  if (existsSync(page) && statSync(page).mtimeMs >= Math.max(...inputs.map((path) => statSync(path).mtimeMs))) return true;
  return run(join(root, 'node_modules/vite/bin/vite.js'), ['build', '--logLevel', 'warn', ...options]);
}

/** @param {string} path */
function filesOf(path) {
  return statSync(path).isFile() ? [path] : filesUnder(path).map((name) => join(path, name));
}

/** @param {string} from @param {string} to */
function isNewer(from, to) {
  return !existsSync(to) || statSync(from).mtimeMs > statSync(to).mtimeMs || statSync(from).size !== statSync(to).size;
}

/** @param {string} script @param {string[]} args */
function run(script, args) {
  const { status } = spawnSync(process.execPath, [script, ...args], { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  if (status !== 0) console.error(`${basename(dirname(dirname(script)))} failed`);
  return status === 0;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) process.exitCode = (await build()) ? 0 : 1;

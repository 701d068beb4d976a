// Everything that can be said about the code without running it; every step runs even when one fails.
// `--update` rewrites the API reports.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** @typedef {{ name: string, command: string, args: string[], needs?: string }} Step */

const root = fileURLToPath(new URL('..', import.meta.url));
const packed = mkdtempSync(join(tmpdir(), 'nearfar-pack-'));
const update = process.argv.includes('--update') ? ['--update'] : [];
const tsc = 'node_modules/typescript/bin/tsc';

/** @type {Step[]} */
const steps = [
  node('types of tests and scripts', tsc, ['-p', 'test/tsconfig.json', '--noEmit']),
  node('format and lint', 'node_modules/@biomejs/biome/bin/biome', ['check', '--diagnostic-level=warn', '--error-on-warnings', '.']),
  { ...node('types of the demo', tsc, ['-p', 'demo/tsconfig.json', '--noEmit']), needs: 'demo/tsconfig.json' },
  node('types of the management page', tsc, ['-p', 'src/ui/tsconfig.json']),
  node('types of the service worker', tsc, ['-p', 'demo/service-worker/tsconfig.json', '--noEmit']),
  node('imports', 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs', ['src', 'demo']),
  node('licences', 'scripts/licences.mjs', []),
  node('unused code', 'node_modules/knip/bin/knip.js', ['--no-progress']),
  node('API reports', 'scripts/api-report.mjs', update),
  node('sizes', 'node_modules/size-limit/bin.js', []),
];

/** @type {string[]} */
const failed = [];
const started = performance.now();
await runStep(node('build and types', 'scripts/build.mjs', []));
const left = steps.filter(({ needs }) => needs === undefined || existsSync(join(root, needs)));
// Most take one core each.
await Promise.all(Array.from({ length: Math.min(4, availableParallelism()) }, runNext));
await checkTarball();
rmSync(packed, { recursive: true, force: true });

const total = `${((performance.now() - started) / 1000).toFixed(1)} s`;
console.log(failed.length === 0 ? `check passed (${total})` : `check failed (${total}): ${failed.join(', ')}`);
process.exitCode = failed.length === 0 ? 0 : 1;

/** Runs steps until none is left. */
async function runNext() {
  for (let step = left.shift(); step; step = left.shift()) await runStep(step);
}

/** What users get is linted as they get it: packed. */
async function checkTarball() {
  const args = ['pack', '--ignore-scripts', '--silent', '--pack-destination', packed];
  const npm = process.env['npm_execpath'];
  await runStep(!npm ? { name: 'pack', command: 'npm', args } : node('pack', npm, args));
  const name = readdirSync(packed)[0];
  if (name === undefined) {
    if (!failed.includes('pack')) failed.push('pack');
    return;
  }
  const tarball = join(packed, name);
  await runStep(node('package', 'node_modules/publint/src/cli.js', ['run', tarball, '--strict']));
  const profile = ['--profile', 'esm-only', '--format', 'ascii', '--no-emoji'];
  await runStep(node('package types', 'node_modules/@arethetypeswrong/cli/dist/index.js', [tarball, ...profile]));
}

/** @param {string} name @param {string} script @param {string[]} args @returns {Step} */
function node(name, script, args) {
  return { name, command: process.execPath, args: [script, ...args] };
}

/** Runs a step and prints what it said only when it failed. @param {Step} step */
async function runStep({ name, command, args }) {
  const start = performance.now();
  const { status, output } = await collect(command, args);
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`${status === 0 ? 'ok  ' : 'FAIL'} ${name} (${seconds} s)`);
  if (status === 0) return;
  console.log(output.trimEnd().replace(/^/gm, '     '));
  failed.push(name);
}

/** @param {string} command @param {string[]} args @returns {Promise<{ status: number | null, output: string }>} */
function collect(command, args) {
  return new Promise((done) => {
    // npm is a .cmd file on Windows, which only a shell starts.
    const shell = process.platform === 'win32' && command === 'npm';
    const child = spawn(command, args, { cwd: root, shell, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, FORCE_COLOR: '0' } });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text));
    child.on('error', (error) => done({ status: 1, output: `${output}${error.message}` }));
    child.on('close', (status) => done({ status, output }));
  });
}

import { spawnSync } from 'node:child_process';
import { mkdirSync, renameSync, rmSync } from 'node:fs';

const bundler = process.argv[2]; // turbopack or webpack
const env = { ...process.env, NEXT_TELEMETRY_DISABLED: '1' };
const { status } = spawnSync(process.execPath, ['node_modules/next/dist/bin/next', 'build', `--${bundler}`, 'next'], {
  stdio: 'inherit',
  env,
});
process.exitCode = status ?? 1;
const out = `out/next-${bundler}`;
rmSync(out, { recursive: true, force: true });
mkdirSync('out', { recursive: true });
if (status === 0) renameSync('next/out', out);

import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from '../../scripts/build.mjs';

export const repositoryRoot = fileURLToPath(new URL('../..', import.meta.url));

export interface CommandResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end. */
export function runCommand(
  command: string,
  args: readonly string[],
  options: { cwd?: string; env?: Readonly<Record<string, string>> } = {},
): Promise<CommandResult> {
  return new Promise((done, fail) => {
    // npm and npx are .cmd files on Windows, which only a shell starts.
    const shell = process.platform === 'win32' && /^np[mx]$/.test(command);
    const env = { ...withoutNpmSettings(), ...options.env };
    const child = spawn(command, args, { cwd: options.cwd ?? repositoryRoot, env, shell, stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', fail);
    child.on('close', (status) => done({ status, stdout, stderr }));
  });
}

/** `npm test` hands this project's settings down by the environment; a user's project has none of them. */
function withoutNpmSettings(): NodeJS.ProcessEnv {
  const ours = /^(npm_config_(onnxruntime|omit_lockfile|local_prefix)|npm_package|npm_lifecycle|ONNXRUNTIME_NODE_INSTALL|INIT_CWD)/i;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !ours.test(name)));
}

export interface PackedPackage extends AsyncDisposable {
  /** Path of the tarball that `npm publish` would send. */
  readonly tarball: string;
  /** A folder of its own, outside of the repository, for the project that uses it. */
  readonly folder: string;
}

/** Builds what is out of date and packs the result. */
export async function packPackage(): Promise<PackedPackage> {
  await build();
  const folder = await mkdtemp(join(tmpdir(), 'nearfar-packed-'));
  const packed = await runCommand('npm', ['pack', '--ignore-scripts', '--pack-destination', folder]);
  const name = (await readdir(folder)).find((file) => file.endsWith('.tgz'));
  if (name === undefined) throw new Error(`npm pack left no tarball:\n${packed.stderr}`);
  const app = join(folder, 'app');
  await mkdir(app);
  return {
    tarball: join(folder, name),
    folder: app,
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true, maxRetries: 5 }),
  };
}

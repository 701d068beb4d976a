import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { freePort } from './free-port.ts';

/** Where Debian has initdb and postgres, which are on no path. */
function findBinaries(): string | undefined {
  const root = '/usr/lib/postgresql';
  const versions = existsSync(root) ? readdirSync(root).sort((a, b) => Number(b) - Number(a)) : [];
  return versions.map((version) => join(root, version, 'bin')).find((folder) => existsSync(join(folder, 'initdb')));
}

const binaries = findBinaries();
/** Whom it runs as: it refuses to be root. */
const user = process.getuid?.() === 0 ? idsOf('postgres') : undefined;

function idsOf(name: string): { uid: number; gid: number } | undefined {
  const [uid, gid] = ['-u', '-g'].map((flag) => Number(spawnSync('id', [flag, name], { encoding: 'utf8' }).stdout));
  return uid && gid ? { uid, gid } : undefined;
}

/** Why no PostgreSQL runs here; undefined where it is installed (Debian: `apt install postgresql`). */
export const noPostgres =
  binaries === undefined ? 'postgresql is not installed' : process.getuid?.() === 0 && !user ? 'there is no user postgres' : undefined;

export interface PostgresServer extends AsyncDisposable {
  readonly url: string;
  /** Ends it at once, as a crash does. */
  crash(): Promise<void>;
  start(): Promise<void>;
}

/** A real PostgreSQL of the test's own, in a temporary folder. */
export async function startPostgres(): Promise<PostgresServer> {
  const folder = await mkdtemp(join(tmpdir(), 'nearfar-postgres-'));
  if (user) chownSync(folder, user.uid, user.gid);
  const data = join(folder, 'data');
  const bin = (name: string) => join(binaries ?? '', name);
  const options = { ...user, cwd: folder };
  const made = spawnSync(bin('initdb'), ['-D', data, '-U', 'nearfar', '--auth=trust', '--no-sync'], { ...options, encoding: 'utf8' });
  if (made.status !== 0) throw new Error(`initdb failed: ${made.stderr}`);
  const port = await freePort();
  let child: ChildProcess | undefined;
  const start = async () => {
    const started = spawn(bin('postgres'), ['-D', data, '-k', folder, '-p', String(port), '-h', '127.0.0.1'], {
      ...options,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    child = started;
    if (!started.stderr) throw new Error('there is no standard error');
    for await (const line of createInterface({ input: started.stderr })) if (line.includes('ready to accept connections')) break;
    started.stderr.resume();
  };
  const crash = async () => {
    if (!child || child.exitCode !== null) return;
    const exited = once(child, 'exit');
    // Immediate shutdown: nothing is finished, as when the machine goes.
    child.kill('SIGQUIT');
    await exited;
  };
  await start();
  return {
    url: `postgres://nearfar@127.0.0.1:${port}/postgres`,
    crash,
    start,
    [Symbol.asyncDispose]: async () => {
      await crash();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

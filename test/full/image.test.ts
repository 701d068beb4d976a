import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, readFile } from 'node:fs/promises';
import { basename, dirname, join, matchesGlob } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { freePort } from '../support/free-port.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { repositoryRoot } from '../support/packed.ts';

// The steps of the Dockerfile without Docker: each stage is a layer over this machine's own file system, in place of the base image, and
// what comes out is run as Docker would: by its user, as process 1, on a root that nobody can write to.

const canMount = spawnSync('unshare', ['--mount', '--pid', '--fork', 'true']).status === 0;
const isDebian = spawnSync('sh', ['-c', 'test -e /etc/debian_version']).status === 0;
if (!canMount || !isDebian) console.warn('skipped: the steps of the Dockerfile, which need root on a Debian');

interface Image {
  readonly layer: string;
  readonly env: Record<string, string>;
  readonly user: string;
  readonly entrypoint: readonly string[];
  readonly healthcheck: readonly string[];
}

let folder: Awaited<ReturnType<typeof openTempFolder>>;
let image: Image;
const running: ChildProcess[] = [];

/** A shell script in a root of its own: this machine's file system with a layer above it. */
function inRoot(layer: string, script: string): string[] {
  const [work, root] = [`${layer}.work`, `${layer}.root`];
  return [
    ...['unshare', '--mount', '--pid', '--fork', '--kill-child', 'sh', '-ec'],
    `mkdir -p ${layer} ${work} ${root}
mount -t overlay overlay -o lowerdir=/,upperdir=${layer},workdir=${work} ${root}
mount -t proc proc ${root}/proc; mount --rbind /dev ${root}/dev; mount -t tmpfs -o mode=1777 tmpfs ${root}/tmp
${script}`,
  ];
}

const quoted = (words: readonly string[]) => words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ');
const assignments = (env: Readonly<Record<string, string>>) => quoted(Object.entries(env).map(([name, value]) => `${name}=${value}`));

/** The files that Docker would be given: those of git that `.dockerignore` takes back from `*`. */
async function contextFiles(): Promise<readonly string[]> {
  const lines = (await readFile(join(repositoryRoot, '.dockerignore'), 'utf8')).split('\n').filter((line) => line.startsWith('!'));
  const patterns = lines.map((line) => line.slice(1));
  const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { cwd: repositoryRoot, encoding: 'utf8' });
  return files.split('\n').filter((file) => patterns.some((pattern) => file.startsWith(`${pattern}/`) || matchesGlob(file, pattern)));
}

/** Runs the instructions of the Dockerfile in their order. */
async function build(): Promise<Image> {
  const text = (await readFile(join(repositoryRoot, 'deploy/container/Dockerfile'), 'utf8'))
    .replace(/^#.*\n/gm, '')
    .replaceAll('\\\n', ' ');
  const context = await contextFiles();
  const layers = new Map<string, string>();
  let stage = {
    layer: '',
    workdir: '/',
    env: {} as Record<string, string>,
    user: '0',
    entrypoint: [] as string[],
    healthcheck: [] as string[],
  };
  const inLayer = (path: string) => join(stage.layer, path.startsWith('/') ? path : join(stage.workdir, path));
  for (const line of text.split('\n').filter(Boolean)) {
    const [, instruction = '', rest = ''] = /^(\w+)\s+(.*)$/.exec(line) ?? [];
    if (instruction === 'FROM') {
      const name = / AS (\w+)$/.exec(rest)?.[1] ?? 'image';
      stage = { layer: join(folder.path, name), workdir: '/', env: {}, user: '0', entrypoint: [], healthcheck: [] };
      layers.set(name, stage.layer);
      await mkdir(stage.layer, { recursive: true });
    } else if (instruction === 'WORKDIR') {
      stage.workdir = rest;
      await mkdir(inLayer('.'), { recursive: true });
    } else if (instruction === 'ENV') {
      for (const pair of rest.split(/\s+/)) stage.env[pair.slice(0, pair.indexOf('='))] = pair.slice(pair.indexOf('=') + 1);
    } else if (instruction === 'COPY') {
      const words = rest.split(/\s+/);
      const from = words[0]?.startsWith('--from=') ? layers.get(words.shift()?.slice('--from='.length) ?? '') : undefined;
      const to = words.pop() ?? '';
      for (const source of words) await copy(context, from, source, inLayer(to), to.endsWith('/'));
    } else if (instruction === 'RUN') {
      const env = { ...stage.env, PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '/root' };
      const script = `exec chroot ${stage.layer}.root env -i ${assignments(env)} sh -ec ${quoted([`cd ${stage.workdir} && ${rest}`])}`;
      const [command = '', ...args] = inRoot(stage.layer, script);
      const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' });
      if (status !== 0) throw new Error(`RUN ${rest}: ${status}\n${stdout}${stderr}`);
    } else if (instruction === 'USER') stage.user = rest;
    else if (instruction === 'ENTRYPOINT') stage.entrypoint = JSON.parse(rest);
    else if (instruction === 'HEALTHCHECK') stage.healthcheck = JSON.parse(rest.slice(rest.indexOf('[')));
    else if (!['ARG', 'LABEL', 'VOLUME', 'EXPOSE', 'STOPSIGNAL'].includes(instruction)) throw new Error(`${instruction} is not known here`);
  }
  return stage;
}

/** One file, the content of a folder, or all of the context (`.`). */
async function copy(context: readonly string[], from: string | undefined, source: string, to: string, isFolder: boolean): Promise<void> {
  if (from !== undefined) return cp(join(from, source), to, { recursive: true, verbatimSymlinks: true });
  const files = context.filter((file) => source === '.' || file === source || file.startsWith(`${source}/`));
  if (files.length === 0) throw new Error(`COPY ${source}: the context has no such file`);
  for (const file of files) {
    const target =
      file === source ? (isFolder ? join(to, basename(file)) : to) : join(to, source === '.' ? file : file.slice(source.length + 1));
    await mkdir(dirname(target), { recursive: true });
    await cp(join(repositoryRoot, file), target);
  }
}

/** What `docker run --read-only --tmpfs /tmp --volume models:/models` would start, with another program in place of the image's where one is named. */
function run(env: Readonly<Record<string, string>>, args: readonly string[], program = image.entrypoint): ChildProcess {
  const root = `${image.layer}.root`;
  const all = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', ...image.env, ...env };
  const [command = '', ...words] = inRoot(
    image.layer,
    `mount --bind ${join(repositoryRoot, 'models')} ${root}/models
mount -o remount,bind,ro ${root}/models
mount -t tmpfs -o mode=0755,uid=1000,gid=1000 tmpfs ${root}/var/lib/nearfar
mount -o remount,ro ${root}
exec chroot --userspec=${image.user} ${root} env -i ${assignments(all)} ${quoted([...program, ...args])}`,
  );
  const child = spawn(command, words, { stdio: ['ignore', 'pipe', 'pipe'] });
  running.push(child);
  return child;
}

async function outputOf(child: ChildProcess): Promise<{ status: number | null; output: string }> {
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream?.setEncoding('utf8').on('data', (text: string) => (output += text));
  const [status] = await once(child, 'close');
  return { status, output };
}

describe.runIf(canMount && isDebian)('the image', () => {
  beforeAll(async () => {
    folder = await openTempFolder();
    image = await build();
  });

  afterAll(async () => {
    for (const child of running)
      if (child.exitCode === null && child.signalCode === null && child.kill('SIGKILL')) await once(child, 'exit');
    await folder?.[Symbol.asyncDispose]();
  });

  test('holds what runs and nothing that only builds or runs elsewhere', () => {
    const names = execFileSync('ls', [join(image.layer, 'opt/nearfar/node_modules'), join(image.layer, 'opt/nearfar')], {
      encoding: 'utf8',
    });
    const elsewhere = execFileSync('find', [join(image.layer, 'opt/nearfar/node_modules'), '-path', '*win32*', '-name', '*.node'], {
      encoding: 'utf8',
    });
    const megabytes = Number(execFileSync('du', ['-sm', image.layer], { encoding: 'utf8' }).split('\t')[0]);

    console.log(`the image is ${megabytes} MB above its base`);
    expect(names).toMatch(/^onnxruntime-node$/m);
    expect(names).toMatch(/^dist$/m);
    expect(names).not.toMatch(/^(typescript|vitest|vite|playwright-core|src|test)$/m);
    expect(elsewhere).toBe('');
  });

  test('serves, as process 1 and its own user, on a root that nobody writes to, and ends on SIGTERM with 0', async () => {
    const [PORT, GRPC_PORT] = [String(await freePort()), String(await freePort())];
    const child = run({ PORT, GRPC_PORT, MODEL_NAME: 'everyday10' }, ['--host=127.0.0.1', '--backend=onnx-cpu', '--lame_duck_seconds=0']);
    const ended = outputOf(child);
    const url = `http://127.0.0.1:${PORT}`;
    await vi.waitFor(async () => expect((await fetch(`${url}/readyz`)).status).toBe(200), { timeout: 60_000, interval: 200 });
    const body = JSON.stringify({ instances: [Array.from({ length: 32 }, () => Array.from({ length: 32 }, () => [0, 0, 0]))] });
    const answer = await fetch(`${url}/v1/models/everyday10:predict`, { method: 'POST', body });
    const healthy = await outputOf(run({ PORT }, [], image.healthcheck));
    const status = await outputOf(run({}, ['status', '--url', url], ['nearfar']));
    const history = await outputOf(run({}, ['history', '--url', url], ['nearfar']));

    // `unshare` has one child, which is process 1 in there.
    const pid = Number(await readFile(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8'));
    const about = await readFile(`/proc/${pid}/status`, 'utf8');
    process.kill(pid, 'SIGTERM');
    const { status: exit, output } = await ended;

    expect(answer.status).toBe(200);
    expect(healthy).toEqual({ status: 0, output: '' });
    expect(status.output).toMatch(/everyday10 +1 +AVAILABLE/);
    expect(history).toMatchObject({ status: 0 });
    expect(about).toMatch(/^NSpid:\t\d+\t1$/m);
    expect(about).toMatch(/^Uid:\t1000\t/m);
    expect({ exit, output }).toMatchObject({ exit: 0 });
    expect(output).not.toMatch(/EROFS|EACCES|read-only|cannot be opened/i);
    expect(await outputOf(run({ PORT }, [], image.healthcheck))).toMatchObject({ status: 1 });
  });

  test('can write to its volume alone', async () => {
    const folders = ['/opt/nearfar', '/models', '/usr/local/bin', '/var/lib/nearfar', '/tmp'];
    const script = `for folder in ${folders.join(' ')}; do touch $folder/x 2> /dev/null && echo $folder; done; true`;

    expect(await outputOf(run({}, ['-c', script], ['sh']))).toEqual({ status: 0, output: '/var/lib/nearfar\n/tmp\n' });
  });
});

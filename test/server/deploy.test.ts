import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { describeFlags, parseConfig, startServer } from '../../src/server/index.ts';

// What deploy/ says of the server, held against the server; test/full/deploy.test.ts has what needs other programs.

const root = fileURLToPath(new URL('../..', import.meta.url));
const deploy = join(root, 'deploy');

async function readDeployed(): Promise<ReadonlyMap<string, string>> {
  const names = (await readdir(deploy, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
  const paths = names.map(({ parentPath, name }) => join(parentPath, name));
  const files = await Promise.all(paths.map(async (path) => [path.slice(deploy.length + 1), await readFile(path, 'utf8')] as const));
  return new Map(files);
}

const files = await readDeployed();
/** The lines that are no comment, and start no other program. */
const linesOf = (text: string) => text.split('\n').filter((line) => !/^\s*#|redis-server|npm |apt-get /.test(line));
const dockerfile = files.get('container/Dockerfile') ?? '';

/** What `ENV` of the Dockerfile sets. */
function imageEnvironment(): Record<string, string> {
  const [, list = ''] = /^ENV ((?:.*\\\n)*.*)$/m.exec(dockerfile) ?? [];
  return Object.fromEntries(list.split(/\s+(?:\\\s+)?/).map((pair) => pair.split('=') as [string, string]));
}

test('every flag that a deployment gives is one that the server honours', () => {
  const honoured = new Set(describeFlags().flatMap(({ name, flag }) => (flag.treatment === 'honoured' ? [name] : [])));
  const given = [...files]
    .filter(([path]) => /^(compose|helm|kserve|systemd)\//.test(path))
    .flatMap(([path, text]) =>
      linesOf(text).flatMap((line) => [...line.matchAll(/--([a-z]\w+)=/g)].map(([, flag = '']) => ({ path, flag }))),
    );

  expect(new Set(given.map(({ path }) => path.split('/')[0]))).toEqual(new Set(['compose', 'helm', 'kserve', 'systemd']));
  expect(given.filter(({ flag }) => !honoured.has(flag))).toEqual([]);
});

test('the image serves what the environment of the image of TensorFlow Serving asks for, and writes to its volume alone', () => {
  const environment = imageEnvironment();
  const { config: unnamed } = parseConfig([], environment);
  const { config: named } = parseConfig([], { ...environment, MODEL_NAME: 'resnet' });
  const { config: all } = parseConfig(['--models=/models'], environment);

  expect(unnamed.models).toMatchObject([{ name: 'model', basePath: '/models/model' }]);
  expect(named.models).toMatchObject([{ name: 'resnet', basePath: '/models/resnet' }]);
  expect(all).toMatchObject({ models: [], modelsRoot: '/models', restPort: 8501, grpcPort: 8500 });
  expect([all.cacheDir, all.historyFile]).toEqual(['/var/lib/nearfar/cache/nearfar', '/var/lib/nearfar/state/nearfar/history.sqlite']);
  expect(/^EXPOSE (.*)$/m.exec(dockerfile)?.[1]).toBe('8500 8501');
  expect(/^USER (.*)$/m.exec(dockerfile)?.[1]).toBe('1000:1000');
});

test('what the image copies is there, and is given to its builder', async () => {
  const ignored = (await readFile(join(root, '.dockerignore'), 'utf8')).split('\n');
  const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.*) \S+$/gm)].flatMap(([, sources = '']) => sources.split(' '));

  expect(ignored).toContain('*');
  expect(copied.length).toBeGreaterThan(5);
  for (const source of copied.filter((path) => path !== '.')) {
    expect({ source, isThere: existsSync(join(root, source)) }).toEqual({ source, isThere: true });
    expect(ignored.some((line) => line.startsWith('!') && (source === line.slice(1) || source.startsWith(`${line.slice(1)}/`)))).toBe(true);
  }
});

test('probes, metrics and the health check of the image ask for what the server answers', async () => {
  await using server = await startServer({
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 'off',
    modelsRoot: join(root, 'models'),
    backends: ['onnx-cpu'],
    logLevel: 'silent',
  });
  await server.whenReady();
  const asked = /(?:httpGet: \{ path: |metrics_path: |\bpath: (?=\/metrics)|httpchk GET |http_health_check: \{ path: )(\/\w+)/g;
  const paths = new Set(
    [...files.values()].flatMap((text) => linesOf(text).flatMap((line) => [...line.matchAll(asked)].map(([, path = '']) => path))),
  );
  const statuses = await Promise.all([...paths].map(async (path) => [path, (await fetch(`${server.restAddress}${path}`)).status]));
  const check = (port: string) =>
    new Promise((resolve) => {
      execFile(process.execPath, [join(deploy, 'container/healthcheck.mjs')], { env: { PORT: port } }, (error) =>
        resolve(error?.code ?? 0),
      );
    });
  const { port } = new URL(server.restAddress ?? '');
  const whileReady = await check(port);
  await server.close();

  expect(Object.fromEntries(statuses)).toEqual({ '/healthz': 200, '/readyz': 200, '/metrics': 200 });
  expect(whileReady).toBe(0);
  expect(await check(port)).toBe(1);
});

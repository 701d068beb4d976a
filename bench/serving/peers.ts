import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { ServedModels } from './models.ts';
import type { ServedModel, WireForm } from './workloads.ts';

/** Another server with the same models; its Python environment is made by bench/peers/install.mjs. */
export interface Peer extends AsyncDisposable {
  readonly name: string;
  readonly rest: string;
  readonly grpc: string;
  readonly forms: readonly WireForm[];
}

export type PeerName = 'Triton' | 'MLServer' | 'pytriton' | 'LitServe';

const sources = fileURLToPath(new URL('../peers', import.meta.url));

/** Where the peers are installed; undefined (said once) where they are not. */
export function peersFolder(): string | undefined {
  const folder = process.env['NEARFAR_BENCH_PEERS'];
  if (folder === undefined || folder === '') console.log('  the other servers are skipped: NEARFAR_BENCH_PEERS names no folder of theirs');
  return folder || undefined;
}

interface Start {
  readonly command: string;
  readonly words: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly ready: string;
  readonly forms: readonly WireForm[];
}

/** Starts one and waits until it answers. */
export async function startPeer(name: PeerName, folder: string, models: ServedModels): Promise<Peer> {
  const scratch = await mkdtemp(join(tmpdir(), 'nearfar-bench-peer-'));
  const [http, grpc, other] = await Promise.all([freePort(), freePort(), freePort()]);
  const starts = { Triton: startTriton, MLServer: startMlserver, pytriton: startPytriton, LitServe: startLitserve };
  const start = await starts[name]({ folder, scratch, models, http, grpc, other });
  const child = spawn(start.command, start.words, {
    cwd: scratch,
    stdio: process.env['NEARFAR_BENCH_DETAILS'] === undefined ? 'ignore' : 'inherit',
    // A group of its own: these servers start others, which would outlive them.
    detached: true,
    env: {
      ...process.env,
      PATH: `${join(folder, 'bin')}:${process.env['PATH']}`,
      PYTHONPATH: sources,
      PYTHONDONTWRITEBYTECODE: '1',
      BENCH_PEERS_SOURCES: sources,
      BENCH_THREADS: '1',
      OMP_NUM_THREADS: '1',
      ...start.environment,
    },
  });
  const end = async () => {
    await endGroup(child);
    await rm(scratch, { recursive: true, force: true });
  };
  try {
    await untilReady(start.ready, child, name);
  } catch (error) {
    await end();
    throw error;
  }
  return { name, rest: `http://127.0.0.1:${http}`, grpc: `127.0.0.1:${grpc}`, forms: start.forms, [Symbol.asyncDispose]: end };
}

interface Place {
  readonly folder: string;
  readonly scratch: string;
  readonly models: ServedModels;
  readonly http: number;
  readonly grpc: number;
  readonly other: number;
}

const listOf = ({ tiny, image }: ServedModels): readonly ServedModel[] => [tiny, ...(image ? [image] : [])];

/** The server inside pytriton, started directly; its Python backend calls ONNX Runtime. */
async function startTriton({ folder, scratch, models, http, grpc }: Place): Promise<Start> {
  const packages = join(folder, 'lib/python3.11/site-packages');
  const inside = join(packages, 'pytriton/tritonserver');
  // pytriton puts the stub of its Python beside the backend when it starts.
  const backend = join(scratch, 'backends/python');
  await mkdir(backend, { recursive: true });
  const parts = [
    'backends/python/libtriton_python.so',
    'backends/python/triton_python_backend_utils.py',
    'python_backend_stubs/3.11/triton_python_backend_stub',
  ];
  for (const part of parts) await symlink(join(inside, part), join(backend, basename(part)));
  for (const model of listOf(models)) {
    const home = join(scratch, 'models', model.model);
    await mkdir(join(home, '1'), { recursive: true });
    await copyFile(join(sources, 'triton_model.py'), join(home, '1/model.py'));
    // Batching as peers are run: the first dimension is the batch, at most 8, none is waited for.
    const isBatched = model.shape.length > 1;
    const dims = (isBatched ? model.shape.slice(1) : [-1]).join(', ');
    const config = [
      'backend: "python"',
      `max_batch_size: ${isBatched ? 8 : 0}`,
      `input { name: "${model.input}" data_type: TYPE_FP32 dims: [${dims}] }`,
      `output { name: "${model.output}" data_type: TYPE_FP32 dims: [-1] }`,
      'instance_group { kind: KIND_CPU count: 1 }',
      `parameters { key: "file" value: { string_value: "${models.files[model.model]}" } }`,
      ...(isBatched ? ['dynamic_batching {}'] : []),
    ];
    await writeFile(join(home, 'config.pbtxt'), config.join('\n'));
  }
  const flags = {
    'model-repository': join(scratch, 'models'),
    'backend-directory': join(scratch, 'backends'),
    'http-address': '127.0.0.1',
    'http-port': http,
    'grpc-address': '127.0.0.1',
    'grpc-port': grpc,
    'allow-metrics': 'false',
  };
  return {
    command: join(inside, 'bin/tritonserver'),
    words: Object.entries(flags).map(([name, value]) => `--${name}=${value}`),
    environment: { LD_LIBRARY_PATH: join(packages, 'nvidia_pytriton.libs') },
    ready: `http://127.0.0.1:${http}/v2/health/ready`,
    forms: ['v2-json', 'v2-binary', 'infer'],
  };
}

/** Without worker processes, its fastest setting by far. */
async function startMlserver({ folder, scratch, models, http, grpc, other }: Place): Promise<Start> {
  const settings = { host: '127.0.0.1', http_port: http, grpc_port: grpc, metrics_port: other, parallel_workers: 0, debug: false };
  await writeFile(join(scratch, 'settings.json'), JSON.stringify(settings));
  for (const { model } of listOf(models)) {
    await mkdir(join(scratch, model));
    const about = { name: model, implementation: 'mlserver_runtime.OnnxRuntime', parameters: { uri: models.files[model], version: '1' } };
    await writeFile(join(scratch, model, 'model-settings.json'), JSON.stringify(about));
  }
  return {
    command: join(folder, 'bin/mlserver'),
    words: ['start', scratch],
    ready: `http://127.0.0.1:${http}/v2/health/ready`,
    forms: ['v2-json', 'infer'],
  };
}

async function startPytriton({ folder, models, http, grpc }: Place): Promise<Start> {
  const list = listOf(models).map(({ model, input, output, shape }) => ({
    name: model,
    file: models.files[model],
    input,
    output,
    row: shape.slice(1),
  }));
  return {
    command: join(folder, 'bin/python'),
    words: [join(sources, 'pytriton_server.py'), String(http), String(grpc), JSON.stringify(list.filter(({ row }) => row.length > 0))],
    // It is ready before its models are.
    ready: `http://127.0.0.1:${http}/v2/models/${models.image?.model}/ready`,
    forms: ['v2-binary', 'infer'],
  };
}

/** The tiny model alone: it has JSON only. */
async function startLitserve({ folder, models, http }: Place): Promise<Start> {
  const { model } = models.tiny;
  return {
    command: join(folder, 'bin/python'),
    words: [join(sources, 'litserve_server.py'), String(http), model, models.files[model] ?? ''],
    ready: `http://127.0.0.1:${http}/health`,
    forms: ['tfs-json'],
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

async function untilReady(url: string, child: ChildProcess, name: string): Promise<void> {
  const deadline = performance.now() + 60_000;
  for (;;) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`${name} ended (${child.exitCode ?? child.signalCode})`);
    const isReady = await fetch(url, { signal: AbortSignal.timeout(2000) }).then(
      ({ ok }) => ok,
      () => false,
    );
    if (isReady) return;
    if (performance.now() > deadline) throw new Error(`${name} was not ready in a minute`);
    await pause(100);
  }
}

async function endGroup(child: ChildProcess): Promise<void> {
  if (child.pid === undefined) return;
  const exited = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : undefined;
  signalGroup(child.pid, 'SIGTERM');
  await Promise.race([exited, pause(5000)]);
  signalGroup(child.pid, 'SIGKILL');
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // All of them have gone.
  }
}

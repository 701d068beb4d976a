import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { create, toBinary } from '@bufbuild/protobuf';
import { Client, credentials, status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { createTensor, encodeTensorProto, PredictionService } from '../../src/core/index.ts';
import { copyEveryday10 } from '../support/everyday10.ts';
import { freePort } from '../support/free-port.ts';
import { openTempFolder } from '../support/model-folder.ts';

// The configurations in deploy/ with the real balancers (Debian's packages nginx and haproxy) before three servers, each a process of its own.

const cli = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const deploy = fileURLToPath(new URL('../../deploy', import.meta.url));
const run = promisify(execFile);

interface Balancer {
  readonly file: string;
  /** Its rule for least connections, and for taking turns. */
  readonly rules: readonly [string, string];
  readonly start: (config: string, folder: string) => readonly [command: string, ...args: string[]];
  readonly version: string;
}

const balancers: Readonly<Record<string, Balancer>> = {
  nginx: {
    file: 'nginx/nginx.conf',
    rules: ['least_conn;', ''],
    start: (config, folder) => ['nginx', '-c', config, '-p', folder, '-g', 'daemon off;'],
    version: '-v',
  },
  haproxy: {
    file: 'haproxy/haproxy.cfg',
    rules: ['balance leastconn', 'balance roundrobin'],
    start: (config) => ['haproxy', '-db', '-f', config],
    version: '-v',
  },
};

let folder: Awaited<ReturnType<typeof openTempFolder>>;
let children: ChildProcess[] = [];

beforeEach(async () => {
  folder = await openTempFolder();
  // nginx's workers are another user.
  await chmod(folder.path, 0o755);
  await copyEveryday10(join(folder.path, 'models', 'everyday10'), '1');
});

afterEach(async () => {
  const ends = children.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null).map((child) => once(child, 'exit'));
  for (const child of children) child.kill('SIGTERM');
  await Promise.all(ends);
  children = [];
  await folder[Symbol.asyncDispose]();
});

interface Served {
  readonly rest: number;
  readonly grpc: number;
  child: ChildProcess;
}

async function startChild(ports: Pick<Served, 'rest' | 'grpc'>): Promise<ChildProcess> {
  const child = spawn(
    process.execPath,
    [
      ...[cli, 'serve', '--json', '--host=127.0.0.1', `--models=${folder.path}/models`, `--rest_api_port=${ports.rest}`],
      ...[`--port=${ports.grpc}`, '--backend=onnx-cpu', '--tensorflow_intra_op_parallelism=1', '--log_level=silent', '--history_file='],
      '--lame_duck_seconds=1.5',
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  children.push(child);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  await lines.next();
  await lines.next();
  return child;
}

async function startServer(): Promise<Served> {
  const ports = { rest: await freePort(), grpc: await freePort() };
  return { ...ports, child: await startChild(ports) };
}

/** Three servers behind a balancer with its configuration of deploy/, on other ports. */
async function start({ file, rules, start: commandOf }: Balancer, takesTurns = false) {
  const servers = [await startServer(), await startServer(), await startServer()];
  const [rest, grpc] = [await freePort(), await freePort()];
  const ports: Record<string, number> = { 8080: rest, 8081: grpc };
  for (const [index, served] of servers.entries())
    Object.assign(ports, { [8501 + 10 * index]: served.rest, [8500 + 10 * index]: served.grpc });
  let config = (await readFile(join(deploy, file), 'utf8')).replace(/\b8[05]\d\d\b/g, (port) => String(ports[port] ?? port));
  // Each worker of nginx takes turns for itself.
  if (takesTurns) config = config.replaceAll(rules[0], rules[1]).replace('worker_processes auto', 'worker_processes 1');
  const at = join(folder.path, 'balancer.conf');
  await mkdir(join(folder.path, 'logs'), { recursive: true });
  await writeFile(at, config);
  const [command, ...args] = commandOf(at, folder.path);
  children.push(spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'] }));
  const url = `http://127.0.0.1:${rest}`;
  await vi.waitFor(async () => expect((await fetch(`${url}/readyz`)).status).toBe(200), { timeout: 30_000, interval: 100 });
  return { servers, url, grpc: `127.0.0.1:${grpc}` };
}

const pixels = Array.from({ length: 32 }, () => Array.from({ length: 32 }, () => [0, 0, 0]));
const body = JSON.stringify({ instances: [pixels] });
const predictOverRest = async (url: string) => {
  const answer = await fetch(`${url}/v1/models/everyday10:predict`, { method: 'POST', body });
  return answer.ok ? 'OK' : `${answer.status} ${await answer.text()}`;
};

const { predict } = PredictionService.method;
const message = Buffer.from(
  toBinary(
    predict.input,
    create(predict.input, {
      modelSpec: { name: 'everyday10' },
      inputs: { image: encodeTensorProto(createTensor('float32', [1, 32, 32, 3], new Float32Array(3072)), { asContent: true }) },
    }),
  ),
);
const openClient = (address: string) => new Client(address, credentials.createInsecure());

/** UNAVAILABLE is tried again, as a client of gRPC has to: a balancer does not know what became of a call that it had sent. */
async function predictOverGrpc(client: Client): Promise<string> {
  const same = (bytes: Buffer) => bytes;
  const once = () =>
    new Promise<string>((resolve) => {
      client.makeUnaryRequest('/tensorflow.serving.PredictionService/Predict', same, same, message, (error) =>
        resolve(error ? `${error.code} ${error.details}` : 'OK'),
      );
    });
  let answer = await once();
  for (let attempt = 1; attempt < 4 && answer.startsWith(`${status.UNAVAILABLE} `); attempt++) {
    await pause(100 * 2 ** attempt);
    answer = await once();
  }
  return answer;
}

/** Asks from several callers until the work is done, and counts what came. */
async function askDuring(predictOnce: () => Promise<string>, work: () => Promise<void>) {
  const answers = new Map<string, number>();
  let isDone = false;
  const caller = async () => {
    while (!isDone) {
      const answer = await predictOnce().catch((error: unknown) => String(error instanceof Error ? (error.cause ?? error) : error));
      answers.set(answer, (answers.get(answer) ?? 0) + 1);
    }
  };
  const callers = Array.from({ length: 4 }, caller);
  await work().finally(() => {
    isDone = true;
  });
  await Promise.all(callers);
  return answers;
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function answeredBy({ rest }: Served): Promise<number> {
  const metrics = await (await fetch(`http://127.0.0.1:${rest}/metrics`)).text();
  const counts = [...metrics.matchAll(/^nearfar_requests_total\{.*api="[Pp]redict".*\} (\d+)$/gm)].map(([, count]) => Number(count));
  return counts.reduce((sum, count) => sum + count, 0);
}

const installed = await Promise.all(
  Object.entries(balancers).map(async ([name, balancer]) => {
    const isThere = await run(name, [balancer.version]).then(
      () => true,
      () => false,
    );
    if (!isThere) console.warn(`skipped: ${balancer.file} is not checked, ${name} is not installed`);
    return { name, balancer, isThere };
  }),
);

for (const { name, balancer, isThere } of installed) {
  describe.runIf(isThere)(name, () => {
    test('in turn: each of three servers gets a third, over REST and over gRPC', async () => {
      const { servers, url, grpc } = await start(balancer, true);
      for (let count = 0; count < 30; count++) expect(await predictOverRest(url)).toBe('OK');
      const overRest = await Promise.all(servers.map(answeredBy));
      const client = openClient(grpc);
      for (let count = 0; count < 30; count++) expect(await predictOverGrpc(client)).toBe('OK');
      client.close();
      const both = await Promise.all(servers.map(answeredBy));

      for (const [index, count] of overRest.entries()) {
        expect(Math.abs(count - 10)).toBeLessThanOrEqual(1);
        expect(Math.abs((both[index] ?? 0) - count - 10)).toBeLessThanOrEqual(1);
      }
    });

    test.each(['REST', 'gRPC'])('a server killed under load fails no prediction over %s', async (way) => {
      const { servers, url, grpc } = await start(balancer);
      const client = openClient(grpc);
      const answers = await askDuring(
        () => (way === 'REST' ? predictOverRest(url) : predictOverGrpc(client)),
        async () => {
          await pause(500);
          servers[1]?.child.kill('SIGKILL');
          await pause(3_000);
        },
      );
      client.close();

      expect([...answers.keys()]).toEqual(['OK']);
      expect(answers.get('OK')).toBeGreaterThan(20);
    });

    test.each(['REST', 'gRPC'])('servers restarted one after the other fail no prediction over %s', async (way) => {
      const { servers, url, grpc } = await start(balancer);
      const client = openClient(grpc);
      const answers = await askDuring(
        () => (way === 'REST' ? predictOverRest(url) : predictOverGrpc(client)),
        async () => {
          for (const served of servers) {
            await pause(300);
            const exit = once(served.child, 'exit');
            served.child.kill('SIGTERM');
            const [code] = await exit;
            expect(code).toBe(0);
            served.child = await startChild(served);
            // A balancer that asks whether it is ready sees it at its next look.
            await pause(2_500);
          }
        },
      );
      client.close();

      expect([...answers.keys()]).toEqual(['OK']);
      expect(await Promise.all(servers.map(answeredBy))).not.toContain(0);
    });
  });
}

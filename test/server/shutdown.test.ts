import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { Agent, type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Client, credentials, status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Health } from '../../src/core/index.ts';
import { copyEveryday10 } from '../support/everyday10.ts';
import { freePort } from '../support/free-port.ts';
import { openTempFolder } from '../support/model-folder.ts';

// The command itself, told to stop while clients ask and hold connections.

const cli = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
let folder: Awaited<ReturnType<typeof openTempFolder>>;
const running: ChildProcess[] = [];

beforeEach(async () => {
  folder = await openTempFolder();
  await mkdir(join(folder.path, 'models'));
});
afterEach(async () => {
  for (const child of running.splice(0)) child.kill('SIGKILL');
  await folder[Symbol.asyncDispose]();
});

/** Starts the built command. */
async function serve(...flags: string[]) {
  const child = spawn(
    process.execPath,
    [
      ...[
        cli,
        'serve',
        '--json',
        '--host=127.0.0.1',
        `--models=${folder.path}/models`,
        `--rest_api_port=${await freePort()}`,
        `--port=${await freePort()}`,
      ],
      ...['--backend=onnx-cpu', '--tensorflow_intra_op_parallelism=1', '--log_level=silent', '--lame_duck_seconds=0', ...flags],
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  running.push(child);
  const exit = once(child, 'exit').then(([code, signal]): { code: number | null; signal: string | null } => ({ code, signal }));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const { rest, grpc }: { rest: string; grpc: string } = JSON.parse((await lines.next()).value as string);
  return { child, rest, grpc, exit, ready: async () => void (await lines.next()) };
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

async function ask(url: string, { body, agent }: { body?: string | Uint8Array; agent?: Agent } = {}): Promise<Answer> {
  const sent = request(url, { method: body === undefined ? 'GET' : 'POST', ...(agent && { agent }) });
  sent.end(body);
  const [response]: IncomingMessage[] = await once(sent, 'response');
  const chunks: Buffer[] = [];
  for await (const chunk of response!) chunks.push(chunk);
  return { status: response!.statusCode ?? 0, headers: response!.headers, body: Buffer.concat(chunks).toString() };
}

/** A request that the server has begun to read, and waits for. */
async function beginUpload(rest: string) {
  const sent = request(`${rest}/v1/models/none:predict`, { method: 'POST', headers: { expect: '100-continue' } });
  sent.on('error', () => {});
  const answered = once(sent, 'response').then(([response]): number => response.statusCode);
  answered.catch(() => {});
  sent.write('{"instances": ');
  await once(sent, 'continue');
  return { finish: () => sent.end('[1]}'), answered };
}

function checkHealth(address: string): Promise<number> {
  const client = new Client(address, credentials.createInsecure());
  return new Promise<number>((resolve) => {
    client.makeUnaryRequest(
      `/${Health.typeName}/Check`,
      (value: Buffer) => value,
      (bytes) => bytes,
      Buffer.alloc(0),
      { deadline: Date.now() + 10_000 },
      (error) => resolve(error?.code ?? status.OK),
    );
  }).finally(() => client.close());
}

const instance = JSON.stringify({ instances: [Array(32).fill(Array(32).fill([0.5, 0.25, 0]))] });

describe('SIGTERM', () => {
  test('under load fails nothing that was taken: each request is answered, or told when to come again, and the exit status is 0', async () => {
    await copyEveryday10(join(folder.path, 'models/everyday10'), '1');
    const server = await serve();
    await server.ready();
    const outcomes: string[] = [];
    let answered = () => {};
    const firstAnswers = new Promise<void>((resolve) => {
      answered = () => outcomes.length > 40 && resolve();
    });
    const clients = Array.from({ length: 8 }, async () => {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      for (;;) {
        const outcome = await ask(`${server.rest}/v1/models/everyday10:predict`, { body: instance, agent }).then(
          ({ status, headers, body }) => `${status}${status === 503 ? ` ${headers['retry-after']} ${JSON.parse(body).code}` : ''}`,
          (error) => String(error.code),
        );
        outcomes.push(outcome);
        answered();
        if (!/^\d/.test(outcome)) break;
      }
      agent.destroy();
    });

    await firstAnswers;
    server.child.kill('SIGTERM');
    await Promise.all(clients);

    expect(await server.exit).toEqual({ code: 0, signal: null });
    // A client finds nobody only when there is nobody any more, which each of them does once.
    const lost = outcomes.filter((outcome) => /^ECONN(REFUSED|RESET)$/.test(outcome));
    expect(lost).toHaveLength(8);
    for (const outcome of outcomes) if (!lost.includes(outcome)) expect(['200', '503 1 unavailable']).toContain(outcome);
  });

  test('lets what was begun finish; meanwhile who comes, anew or on a kept connection, is told to come later', async () => {
    const server = await serve();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const before = await ask(`${server.rest}/healthz`, { agent });
    const upload = await beginUpload(server.rest);

    server.child.kill('SIGTERM');
    await untilDraining(server.rest);
    const [kept, anew, ready] = [
      await ask(`${server.rest}/v1/models/none:predict`, { body: '{"instances": [1]}', agent }),
      await ask(`${server.rest}/v1/models/none:predict`, { body: '{"instances": [1]}' }),
      await ask(`${server.rest}/readyz`),
    ];
    const health = await checkHealth(server.grpc);
    upload.finish();

    expect(before.status).toBe(200);
    for (const { status, headers, body } of [kept, anew]) {
      expect([status, headers['retry-after'], headers.connection]).toEqual([503, '1', 'close']);
      expect(JSON.parse(body)).toMatchObject({ error: 'the server is shutting down', code: 'unavailable' });
    }
    expect([ready.status, health]).toEqual([503, status.UNAVAILABLE]);
    expect(await upload.answered).toBe(503);
    expect(await server.exit).toEqual({ code: 0, signal: null });
    agent.destroy();
  });

  test('waits no longer than the grace period', async () => {
    const server = await serve('--shutdown_grace_period_seconds=1');
    await beginUpload(server.rest);

    server.child.kill('SIGTERM');

    expect(await server.exit).toEqual({ code: 0, signal: null });
  });

  test('a second signal ends the process at once', async () => {
    const server = await serve();
    await beginUpload(server.rest);

    server.child.kill('SIGTERM');
    await untilDraining(server.rest);
    server.child.kill('SIGINT');

    expect(await server.exit).toEqual({ code: null, signal: 'SIGINT' });
  });

  async function untilDraining(rest: string): Promise<void> {
    await vi.waitUntil(async () => (await ask(`${rest}/v1/models/none:predict`, { body: '{"instances": [1]}' })).status === 503, {
      interval: 20,
      timeout: 20_000,
    });
  }
});

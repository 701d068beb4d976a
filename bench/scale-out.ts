import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmod } from 'node:fs/promises';
import { availableParallelism, cpus } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';
import { writeBalancer } from '../test/support/balancers.ts';
import { openTempFolder } from '../test/support/model-folder.ts';
import { type Bench, compare, measurePairs, median } from './measure.ts';
import { type BenchProcess, startProcess } from './process.ts';
import { publishServedModels } from './serving/models.ts';
import type { Load, Question, Workload } from './serving/workloads.ts';

interface Server {
  readonly rest: string;
  readonly process: BenchProcess<object, { readonly cpuMs: number }>;
}

/** A multiple of every number of processes, so that each gets the same share. */
const inFlight = 12;
const durationMs = 1_000;

/**
 * Requests a second of one, two and three server processes on one machine: asked straight, each by as many callers as the others, and through
 * nginx with its configuration of deploy/. What keeps the number down is told by the cores that were busy, and how many of them with servers.
 */
export const benchScaleOut: Bench = async ({ pairs = 5, report }) => {
  await using models = await publishServedModels();
  await using folder = await openTempFolder();
  // nginx's workers are another user.
  await chmod(folder.path, 0o755);
  await using first = await startServer(models.repository);
  await using second = await startServer(models.repository);
  await using third = await startServer(models.repository);
  await using driver = await startProcess<Question, Load>('client.mjs', {});
  const servers = [first, second, third];
  const hasNginx = spawnSync('nginx', ['-v']).status === 0;
  if (!hasNginx) console.log('  nginx is not installed: the servers are asked straight alone');

  const workloads: Workload[] = [{ ...models.tiny, protocol: 'tfs-json' }];
  if (models.image) workloads.push({ ...models.image, protocol: 'v2-binary' });
  for (const workload of workloads) {
    const cores: number[] = [];
    const ofServers: number[] = [];
    const ask = async (address: string | readonly string[]) => {
      const [busyBefore, usedBefore] = [busyMs(), await usedMs(servers)];
      const startedAt = performance.now();
      const { perSecond } = await driver.ask({ address, workload, inFlight, durationMs });
      const tookMs = performance.now() - startedAt;
      cores.push((busyMs() - busyBefore) / tookMs);
      ofServers.push(((await usedMs(servers)) - usedBefore) / tookMs);
      return perSecond;
    };
    const straight = servers.map(({ rest }) => rest);
    await ask(straight);
    const measure = async (subject: string, address: string | readonly string[]) => {
      const seen: string[] = [];
      const measured = await measurePairs(
        pairs,
        async () => {
          cores.length = ofServers.length = 0;
          const perSecond = await ask(address);
          seen.push(`${median(ofServers).toFixed(2)}/${median(cores).toFixed(2)}`);
          return perSecond;
        },
        () => ask(straight.slice(0, 1)),
      );
      const details = `cores of the servers / of everything, each time: ${seen.join(', ')} (of ${availableParallelism()})`;
      const about = { bench: 'scale-out', case: `${workload.model} ${workload.protocol}, ${inFlight} in flight`, unit: '/s' } as const;
      report(compare({ ...about, subject, reference: '1 process', details }, measured));
    };
    for (const count of [2, 3]) await measure(`${count} processes`, straight.slice(0, count));
    if (!hasNginx) continue;
    for (const count of [1, 2, 3]) {
      await using nginx = await startNginx(folder.path, servers.slice(0, count));
      await measure(`nginx, ${count} process${count > 1 ? 'es' : ''}`, nginx.url);
    }
  }
};

async function startServer(modelsRoot: string): Promise<Server & AsyncDisposable> {
  const options = { modelsRoot, backends: ['onnx-cpu'], engineThreads: 1 };
  const process = await startProcess<object, { cpuMs: number }, { rest: string }>('server.mjs', options);
  return { rest: process.ready.rest, process, [Symbol.asyncDispose]: () => process[Symbol.asyncDispose]() };
}

async function startNginx(folder: string, servers: readonly Server[]): Promise<{ readonly url: string } & AsyncDisposable> {
  const ports = servers.map(({ rest }) => ({ rest: Number(new URL(rest).port), grpc: Number(new URL(rest).port) }));
  const { command, url } = await writeBalancer('nginx', folder, ports);
  const child = spawn(...(command as [string, string[]]), { stdio: ['ignore', 'ignore', 'inherit'] });
  while (!(await fetch(`${url}/readyz`).catch(() => undefined))?.ok) await pause(50);
  return {
    url,
    [Symbol.asyncDispose]: async () => {
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
    },
  };
}

async function usedMs(servers: readonly Server[]): Promise<number> {
  const used = await Promise.all(servers.map(({ process }) => process.ask({})));
  return used.reduce((sum, { cpuMs }) => sum + cpuMs, 0);
}

/** Of all programs on this machine. */
function busyMs(): number {
  return cpus().reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0);
}

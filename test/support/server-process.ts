import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { freePort } from './free-port.ts';

const cli = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** `nearfar serve` of the built package in a process of its own. */
export interface ServerProcess {
  readonly rest: number;
  readonly grpc: number;
  child: ChildProcess;
  /** Starts it again on the same ports, after its process has ended. */
  restart(): Promise<void>;
}

/** Processes that a test started; all have ended when it is disposed. */
export class Processes implements AsyncDisposable {
  readonly #children: ChildProcess[] = [];

  /** Starts any program; what it says on standard error is shown. */
  start(command: string, args: readonly string[]): ChildProcess {
    return this.#keep(spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'] }));
  }

  /** Starts a server of everything in `models`, and waits until it is ready. */
  async serve(models: string, flags: readonly string[] = []): Promise<ServerProcess> {
    const ports = { rest: await freePort(), grpc: await freePort() };
    const args = [
      ...[cli, 'serve', '--json', '--host=127.0.0.1', `--models=${models}`, `--rest_api_port=${ports.rest}`, `--port=${ports.grpc}`],
      ...['--backend=onnx-cpu', '--tensorflow_intra_op_parallelism=1', '--log_level=silent', '--history_file=', ...flags],
    ];
    const start = async () => {
      const child = this.#keep(spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] }));
      const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
      await lines.next();
      await lines.next();
      return child;
    };
    const server: ServerProcess = {
      ...ports,
      child: await start(),
      restart: async () => {
        server.child = await start();
      },
    };
    return server;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const running = this.#children.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null);
    const ends = running.map((child) => once(child, 'exit'));
    for (const child of running) {
      // One that is stopped takes no SIGTERM before it goes on.
      child.kill('SIGCONT');
      child.kill('SIGTERM');
    }
    await Promise.all(ends);
  }

  #keep<Child extends ChildProcess>(child: Child): Child {
    this.#children.push(child);
    return child;
  }
}

/** How many predictions a server has answered. */
export async function predictionsOf({ rest }: ServerProcess): Promise<number> {
  return sumOf(rest, /^nearfar_requests_total\{.*api="[Pp]redict".*\} (\d+)$/gm);
}

/** How many requests about models a server has answered, those about models that it does not have, too. */
export async function requestsOf({ rest }: ServerProcess): Promise<number> {
  return sumOf(rest, /^nearfar_requests_total\{.*\} (\d+)$/gm);
}

async function sumOf(port: number, metric: RegExp): Promise<number> {
  const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  return [...metrics.matchAll(metric)].reduce((sum, [, count]) => sum + Number(count), 0);
}

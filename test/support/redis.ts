import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';

/** Why no Redis runs here; undefined when redis-server (Debian: `apt install redis-server`) is installed. */
export const noRedis = spawnSync('redis-server', ['--version']).status === 0 ? undefined : 'redis-server is not installed';

export interface RedisServer extends AsyncDisposable {
  readonly url: string;
  readonly child: ChildProcess;
  stop(): Promise<void>;
}

/** A real Redis of the test's own, which keeps nothing on disk. @param port A free one when absent. */
export async function startRedis(port?: number): Promise<RedisServer> {
  const taken = port ?? (await freePort());
  const child = spawn('redis-server', ['--port', String(taken), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  for await (const line of createInterface({ input: child.stdout })) if (line.includes('Ready to accept connections')) break;
  child.stdout.resume();
  const stop = async () => {
    child.kill('SIGCONT');
    child.kill('SIGKILL');
    await exited;
  };
  return { url: `redis://127.0.0.1:${taken}`, child, stop, [Symbol.asyncDispose]: stop };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address ? address.port : 0;
}

import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from './free-port.ts';

const deploy = fileURLToPath(new URL('../../deploy', import.meta.url));

interface Balancer {
  /** The file in the folder of its name. */
  readonly file: string;
  /** Its rule for least connections, and for taking turns. */
  readonly rules: readonly [string, string];
  readonly start: (config: string, folder: string) => readonly [command: string, ...args: string[]];
  readonly version: string;
}

export const balancers: Readonly<Record<string, Balancer>> = {
  nginx: {
    file: 'nginx.conf',
    rules: ['least_conn;', ''],
    start: (config, folder) => ['nginx', '-c', config, '-p', folder, '-g', 'daemon off;'],
    version: '-v',
  },
  haproxy: {
    file: 'haproxy.cfg',
    rules: ['balance leastconn', 'balance roundrobin'],
    start: (config) => ['haproxy', '-db', '-f', config],
    version: '-v',
  },
  envoy: {
    file: 'envoy.yaml',
    rules: ['LEAST_REQUEST', 'ROUND_ROBIN'],
    // Its threads take turns each for itself.
    start: (config) => ['envoy', '-c', config, '--concurrency', '1', '--disable-hot-restart', '--log-level', 'error'],
    version: '--version',
  },
};

export interface WrittenBalancer {
  readonly command: readonly [program: string, args: readonly string[]];
  /** REST by least connections, or in turn. */
  readonly url: string;
  /** REST by model. */
  readonly byModel: string;
  /** gRPC, HOST:PORT. */
  readonly grpc: string;
}

/** Writes the configuration of a balancer in deploy/ for other ports, of loopback alone, before up to three servers. */
export async function writeBalancer(
  name: string,
  folder: string,
  servers: readonly { readonly rest: number; readonly grpc: number }[],
  { takesTurns = false } = {},
): Promise<WrittenBalancer> {
  const { file, rules, start } = balancers[name] as Balancer;
  const [rest, grpc, byModel, admin] = [await freePort(), await freePort(), await freePort(), await freePort()];
  const ports: Record<string, number> = { 8080: rest, 8081: grpc, 8082: byModel, 9901: admin };
  const left: number[] = [];
  for (const index of [0, 1, 2]) {
    const served = servers[index];
    if (served) Object.assign(ports, { [8501 + 10 * index]: served.rest, [8500 + 10 * index]: served.grpc });
    else left.push(8501 + 10 * index, 8500 + 10 * index);
  }
  const at = join(folder, `${name}-${rest}`);
  await mkdir(join(at, 'logs'), { recursive: true });
  for (const part of await readdir(join(deploy, name))) {
    let config = (await readFile(join(deploy, name, part), 'utf8'))
      .split('\n')
      .filter((line) => !left.some((port) => line.includes(`127.0.0.1:${port} `)))
      .join('\n')
      .replace(/\b(?:8[05]\d\d|9901)\b/g, (port) => String(ports[port] ?? port))
      .replace(/(listen |bind ):?(?=\d)/g, '$1127.0.0.1:')
      .replaceAll('0.0.0.0', '127.0.0.1');
    // Each worker of nginx takes turns for itself.
    if (takesTurns) config = config.replaceAll(rules[0], rules[1]).replace('worker_processes auto', 'worker_processes 1');
    await writeFile(join(at, part), config);
  }
  const [program, ...args] = start(join(at, file), at);
  return {
    command: [program, args],
    url: `http://127.0.0.1:${rest}`,
    byModel: `http://127.0.0.1:${byModel}`,
    grpc: `127.0.0.1:${grpc}`,
  };
}

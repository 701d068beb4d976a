import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createGrpcServer, createRestServer, type Transport } from '../../src/server/transports/index.ts';
import { createStandInContext, createStandInFiles, createStandInStore, half123, scorer } from '../server/transports/support/stand-in.ts';
import { fuzzGrpc, fuzzRest } from '../support/hostile-requests.ts';

// What strangers may send to real sockets: the server bounds it, and answers the next one.

const context = createStandInContext(createStandInStore([half123, scorer]));
const transports: Transport[] = [];
let base: string;
let restPort: number;
let grpcPort: number;

beforeAll(async () => {
  const rest = createRestServer({
    ...context,
    files: createStandInFiles({}),
    metricsPage: { contentType: 'text/plain', metrics: async () => '' },
    corsAllowedOrigins: [],
    timeoutMs: 30_000,
    requestTimeoutMs: 2000,
    lameDuckMs: 0,
  });
  const grpc = createGrpcServer({
    ...context,
    lameDuckMs: 0,
    channelArguments: { 'grpc.keepalive_time_ms': 500, 'grpc.keepalive_timeout_ms': 500 },
  });
  transports.push(rest, grpc);
  ({ port: restPort } = await rest.listen({ host: '127.0.0.1', port: 0 }));
  ({ port: grpcPort } = await grpc.listen({ host: '127.0.0.1', port: 0 }));
  base = `http://127.0.0.1:${restPort}`;
});

afterAll(async () => {
  await Promise.all(transports.map((transport) => transport.close()));
});

test('20,000 damaged requests over HTTP are answered or refused', async () => {
  await fuzzRest(base, 20_000);

  expect(context.errors).toEqual([]);
});

test('20,000 damaged messages over gRPC are answered or refused', async () => {
  await fuzzGrpc(`127.0.0.1:${grpcPort}`, 20_000);

  expect(context.errors).toEqual([]);
});

describe('HTTP', () => {
  const post = (body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}) =>
    fetch(`${base}/v1/models/half_plus_two:predict`, { method: 'POST', body, headers });

  test('JSON that nests 500,000 deep is refused', async () => {
    for (const body of ['['.repeat(500_000), `{"instances": ${'['.repeat(500_000)}1${']'.repeat(500_000)}}`, '{"a":'.repeat(500_000)]) {
      const response = await post(body);

      expect([response.status, await response.json()]).toEqual([400, expect.objectContaining({ error: expect.any(String) })]);
    }
  });

  test('gzip of 1 GiB of nothing takes no more memory than a body may', async () => {
    const bomb = new Uint8Array(gzipSync(Buffer.alloc(2 ** 30)));
    const rss = process.memoryUsage().rss;

    const answers = await Promise.all(Array.from({ length: 4 }, () => post(bomb, { 'content-encoding': 'gzip' })));

    expect(answers.map(({ status }) => status)).toEqual([413, 413, 413, 413]);
    expect(process.memoryUsage().rss - rss).toBeLessThan(4 * 64 * 2 ** 20);
  });

  test('headers and bodies that drip are cut', async () => {
    const begin = 'POST /v1/models/half_plus_two:predict HTTP/1.1\r\nHost: a\r\n';
    const answers = await Promise.all([`${begin}X: 1`, `${begin}Content-Length: 100\r\n\r\n{`].map(dripTo));

    for (const answer of answers)
      expect(answer).toMatch(/^HTTP\/1\.1 408 .*\{"error":"Request Timeout","code":"invalid-argument","details":\{\}\}$/s);
  });

  test('a client that closes its half still gets its answer', async () => {
    const socket = connect({ port: restPort, host: '127.0.0.1', allowHalfOpen: true });
    socket.end('POST /v1/models/half_plus_two:predict HTTP/1.1\r\nHost: a\r\nContent-Length: 18\r\n\r\n{"instances": [4]}');

    expect(await everything(socket)).toMatch(/^HTTP\/1\.1 200 .*"predictions": \[4\.0/s);
  });

  test('one that closes its half in the middle of a request is cut', async () => {
    const socket = connect({ port: restPort, host: '127.0.0.1', allowHalfOpen: true });
    socket.end('POST /v1/models/half_plus_two:predict HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{"instances"');

    await everything(socket);
  });

  async function dripTo(start: string): Promise<string> {
    const socket = connect({ port: restPort, host: '127.0.0.1' });
    socket.write(start);
    const dripping = setInterval(() => socket.write(' '), 200);
    const answer = await everything(socket);
    clearInterval(dripping);
    return answer;
  }
});

describe('HTTP/2', () => {
  const path = '/grpc.health.v1.Health/Check';

  test('streams that are opened and reset without end end the connection', async () => {
    const session = connectHttp2(`http://127.0.0.1:${grpcPort}`);
    session.on('error', () => {});
    await once(session, 'connect');
    let opened = 0;
    while (!session.destroyed && opened < 100_000) {
      const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' });
      stream.on('error', () => {});
      stream.close(8);
      opened++;
      if (opened % 100 === 0) await new Promise(setImmediate);
    }

    expect(opened).toBeLessThan(100_000);
    await expectServing();
  });

  test.each([
    ['pings', frame(6, Buffer.alloc(8))],
    ['settings', frame(4, Buffer.alloc(0))],
  ])('%s whose answers nobody reads end the connection, and take no memory', async (_, flood) => {
    const rss = process.memoryUsage().rss;
    const socket = connect(grpcPort, '127.0.0.1');
    const closed = new Promise((resolve) => socket.on('error', () => {}).on('close', resolve));
    await once(socket, 'connect');
    socket.pause();
    socket.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(4, Buffer.alloc(0))]));
    const many = Buffer.concat(Array<Buffer>(1000).fill(flood));
    for (let sent = 0; sent < 3000 && !socket.destroyed; sent++) {
      socket.write(many);
      await new Promise(setImmediate);
    }

    expect(socket.destroyed).toBe(true);
    await closed;
    expect(process.memoryUsage().rss - rss).toBeLessThan(256 * 2 ** 20);
    await expectServing();
  });

  test('a connection has 1024 streams at most', async () => {
    const session = connectHttp2(`http://127.0.0.1:${grpcPort}`);
    const [settings] = await once(session, 'remoteSettings');

    expect(settings.maxConcurrentStreams).toBe(1024);
    session.destroy();
  });

  test('a connection that never speaks HTTP/2 is ended', async () => {
    const socket = connect(grpcPort, '127.0.0.1');
    socket.resume();

    await once(socket, 'close');
  });

  async function expectServing(): Promise<void> {
    await fuzzGrpc(`127.0.0.1:${grpcPort}`, 1);
  }
});

/** A frame of the connection itself (RFC 9113, section 4.1). */
function frame(type: number, payload: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0, 0, payload.length, type, 0, 0, 0, 0, 0]), payload]);
}

async function everything(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  await new Promise((resolve) =>
    socket
      .on('data', (chunk) => chunks.push(chunk))
      .on('error', () => {})
      .on('close', resolve),
  );
  return Buffer.concat(chunks).toString();
}

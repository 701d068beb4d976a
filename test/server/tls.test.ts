import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { connect as connectHttp2 } from 'node:http2';
import { type RequestOptions, request } from 'node:https';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { type ChannelCredentials, Client, credentials } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Health, ModelService } from '../../src/core/index.ts';
import { parseConfig, type RunningServer, type ServerOptions, startServer } from '../../src/server/index.ts';
import { readSslConfig } from '../../src/server/ssl-config.ts';
import { makeCertificates } from '../support/certificates.ts';
import { openTempFolder } from '../support/model-folder.ts';

// Real certificates, real clients, a real server that has no models: everything here is decided before one would be asked.

const made = makeCertificates();
const { authority, server: own, client, stranger } = made ?? ({} as NonNullable<typeof made>);
let folder: Awaited<ReturnType<typeof openTempFolder>>;

beforeEach(async () => {
  folder = await openTempFolder();
});
afterEach(() => folder[Symbol.asyncDispose]());

function start(options: ServerOptions): Promise<RunningServer> {
  return startServer({
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 0,
    modelsRoot: folder.path,
    logLevel: 'silent',
    lameDuckMs: 0,
    ...options,
  });
}

/** As operators write it: PEM text, its lines joined by \n. */
async function writeSslConfig(fields: Record<string, string | boolean>): Promise<string> {
  const file = join(folder.path, 'ssl.config');
  await writeFile(
    file,
    Object.entries(fields)
      .map(([name, value]) => `${name}: ${JSON.stringify(value)}\n`)
      .join(''),
  );
  return file;
}

async function openTlsServer(fields: Record<string, string | boolean> = {}, options: ServerOptions = {}): Promise<RunningServer> {
  return start({ tls: readSslConfig(await writeSslConfig({ server_key: own.key, server_cert: own.cert, ...fields })), ...options });
}

/** Status over HTTPS, or the reason that there is none. */
async function get(url: string, options: RequestOptions = {}): Promise<number | string> {
  const sent = request(url, { ca: authority, agent: false, ...options });
  sent.end();
  try {
    const [response] = await once(sent, 'response');
    response.resume();
    return response.statusCode;
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error);
  }
}

/** Code of a gRPC call; 0 is OK. */
function call(address: string, channel: ChannelCredentials, path = `/${Health.typeName}/Check`): Promise<number> {
  const grpc = new Client(address, channel);
  return new Promise<number>((resolve) => {
    grpc.makeUnaryRequest(
      path,
      (value: Buffer) => value,
      (bytes) => bytes,
      Buffer.alloc(0),
      { deadline: Date.now() + 10_000 },
      (error) => resolve(error?.code ?? 0),
    );
  }).finally(() => grpc.close());
}

const channel = (identity?: { key: string; cert: string }) =>
  credentials.createSsl(Buffer.from(authority), identity && Buffer.from(identity.key), identity && Buffer.from(identity.cert));

describe.skipIf(!made)('--ssl_config_file', () => {
  test('encrypts REST and gRPC; those who do not encrypt, or do not know the authority, get nothing', async () => {
    await using server = await openTlsServer();

    expect(server.restAddress).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
    expect(await get(`${server.restAddress}/healthz`)).toBe(200);
    expect(await get(`${server.restAddress}/healthz`, { ca: undefined })).toBe('UNABLE_TO_VERIFY_LEAF_SIGNATURE');
    await expect(fetch(`${server.restAddress}/healthz`.replace('https', 'http'))).rejects.toThrow();
    expect(await call(server.grpcAddress!, channel())).toBe(0);
    expect(await call(server.grpcAddress!, credentials.createInsecure())).toBe(14);
    expect(await get(`${server.restAddress}/healthz`)).toBe(200);
  });

  test('with client_verify takes only clients of the authority', async () => {
    await using server = await openTlsServer({ custom_ca: authority, client_verify: true });
    const url = `${server.restAddress}/healthz`;

    expect(await get(url, client)).toBe(200);
    expect([await get(url), await get(url, stranger)]).toEqual([
      expect.stringMatching(/^E(RR_SSL|CONNRESET|PIPE)/),
      expect.stringMatching(/^E(RR_SSL|CONNRESET|PIPE)/),
    ]);
    expect(await call(server.grpcAddress!, channel(client))).toBe(0);
    expect([await call(server.grpcAddress!, channel()), await call(server.grpcAddress!, channel(stranger))]).toEqual([14, 14]);
  });

  test('without client_verify asks nobody for a certificate', async () => {
    await using server = await openTlsServer({ custom_ca: authority });

    expect(await get(`${server.restAddress}/healthz`)).toBe(200);
    expect(await call(server.grpcAddress!, channel())).toBe(0);
  });

  test('encrypts the address for changing calls too, HTTP and gRPC on one port', async () => {
    await using server = await openTlsServer(
      { custom_ca: authority, client_verify: true },
      { adminAddress: { host: '127.0.0.1', port: 0 } },
    );
    const reload = `/${ModelService.typeName}/HandleReloadConfigRequest`;

    expect(await get(`https://${server.adminAddress}/nearfar/v1/config`, client)).toBe(200);
    expect(await get(`https://${server.adminAddress}/nearfar/v1/config`)).toMatch(/^E/);
    // 3: an empty request is refused for what it lacks, not for who sends it.
    expect(await call(server.adminAddress!, channel(client), reload)).toBe(3);
    expect(await call(server.adminAddress!, channel(), reload)).toBe(14);
    expect(await call(server.grpcAddress!, channel(client), reload)).toBe(7);
  });

  test('a client that begins TLS and then is silent holds nobody up', async () => {
    const server = await openTlsServer();
    const port = Number(new URL(server.restAddress!).port);
    const idle = connect({ port, host: '127.0.0.1', ca: authority });
    await once(idle, 'secureConnect');
    const ended = once(idle, 'close');

    expect(await get(`${server.restAddress}/healthz`)).toBe(200);
    await server.close();

    await ended;
  });

  test.each([
    ['no key', () => ({ server_cert: own.cert }), /server_key is empty/],
    ['a key of another certificate', () => ({ server_key: client.key, server_cert: own.cert }), /cannot be used: .*key values mismatch/],
    ['a path', () => ({ server_key: own.key, server_cert: '/etc/cert.pem' }), /server_cert holds no certificate, expected PEM text/],
    [
      'a broken authority',
      () => ({ server_key: own.key, server_cert: own.cert, custom_ca: authority.replace(/MII.{20}/, 'MIIA') }),
      /custom_ca holds a certificate that cannot be read/,
    ],
    ['another field', () => ({ server_certificate: own.cert }), /no field named "server_certificate"/],
  ])('ends the start with the reason for %s', async (_, fields, message) => {
    const file = await writeSslConfig(fields());

    expect(() => parseConfig(['--models=/m', `--ssl_config_file=${file}`], {})).toThrow(message);
  });

  test('ends the start when it is not there', () => {
    expect(() => parseConfig(['--models=/m', '--ssl_config_file=/nowhere/ssl.config'], {})).toThrow(
      expect.objectContaining({ code: 'not-found', message: expect.stringContaining('/nowhere/ssl.config') }),
    );
  });
});

describe('--grpc_socket_path', () => {
  const ready = (path: string) => call(`unix:${path}`, credentials.createInsecure());

  test('takes calls beside the port, also those that change what is served, and is gone in the end', async () => {
    const path = join(folder.path, 'grpc.sock');
    const server = await start({ grpcSocketPath: path });
    const reload = `/${ModelService.typeName}/HandleReloadConfigRequest`;

    expect([await ready(path), await call(server.grpcAddress!, credentials.createInsecure())]).toEqual([0, 0]);
    expect(await call(`unix:${path}`, credentials.createInsecure(), reload)).toBe(3);
    expect(server.grpcSocketPath).toBe(path);
    await server.close();

    expect(existsSync(path)).toBe(false);
  });

  test('takes them instead of the port, and replaces a socket that nobody listens on', async () => {
    const path = join(folder.path, 'grpc.sock');
    await leaveSocketBehind(path);

    await using server = await start({ grpcPort: 'off', restPort: 'off', grpcSocketPath: path });

    expect([server.grpcAddress, await ready(path)]).toEqual([undefined, 0]);
  });

  test('is refused where a server listens, or where no socket is', async () => {
    const path = join(folder.path, 'grpc.sock');
    const file = join(folder.path, 'file');
    await writeFile(file, 'kept');
    await using _server = await start({ grpcSocketPath: path });

    await expect(start({ grpcSocketPath: path })).rejects.toThrow(/another server listens there/);
    await expect(start({ grpcSocketPath: file })).rejects.toThrow(/no socket/);
    await expect(start({ grpcSocketPath: join(folder.path, 'none/grpc.sock') })).rejects.toMatchObject({ code: 'unavailable' });
    expect(await ready(path)).toBe(0);
  });

  test('or a port is needed', () => {
    expect(() => parseConfig(['--models=/m', '--port=0', '--rest_api_port=0'], {})).toThrow(/gRPC needs a port .* or a socket/);
    expect(parseConfig(['--models=/m', '--port=0', '--rest_api_port=0', '--grpc_socket_path=/s'], {}).config.grpcSocketPath).toBe('/s');
  });

  /** As a server that was killed does: what unlinks a socket is its closing. */
  async function leaveSocketBehind(path: string): Promise<void> {
    const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
    expect(() => execFileSync(process.execPath, ['-e', script])).toThrow();
    expect(existsSync(path)).toBe(true);
  }
});

describe('--grpc_channel_arguments', () => {
  const parse = (text: string) => parseConfig(['--models=/m', `--grpc_channel_arguments=${text}`], {});

  test('are those of gRPC; unknown ones are named', () => {
    const { config, warnings } = parse('grpc.max_connection_age_ms=2000, grpc.max_receive_message_length=-1,grpc.http2.no_such=1');

    expect(config.grpcChannelArguments).toEqual({ 'grpc.max_connection_age_ms': 2000, 'grpc.max_receive_message_length': -1 });
    expect(warnings).toEqual([expect.stringContaining('grpc.http2.no_such is not known here')]);
  });

  test.each(['grpc.max_connection_age_ms=soon', 'grpc.max_connection_age_ms', 'grpc.keepalive_time_ms=-1', '=1'])(
    'are refused: %s',
    (text) => {
      expect(() => parse(text)).toThrow(expect.objectContaining({ code: 'invalid-argument' }));
    },
  );

  test('limit the size of a message', async () => {
    await using server = await start({ grpcChannelArguments: { 'grpc.max_receive_message_length': 10 } });
    const grpc = new Client(server.grpcAddress!, credentials.createInsecure());

    const code = await new Promise((resolve) => {
      grpc.makeUnaryRequest(
        `/${Health.typeName}/Check`,
        (value: Buffer) => value,
        (bytes) => bytes,
        Buffer.alloc(100),
        (error) => resolve(error?.code),
      );
    });
    grpc.close();

    expect(code).toBe(8);
  });

  test('let a connection live no longer than they say', async () => {
    await using server = await start({
      grpcChannelArguments: { 'grpc.max_connection_age_ms': 50, 'grpc.max_connection_age_grace_ms': 50 },
    });
    const [host = '', port] = server.grpcAddress!.split(':');

    const session = connectHttp2(`http://${host}:${port}`);
    const [errorCode] = await once(session, 'goaway');

    expect(errorCode).toBe(0);
    session.destroy();
  });
});

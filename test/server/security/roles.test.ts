import { Writable } from 'node:stream';
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Access, grpcAccess, httpAccess, type Role, roles } from '../../../src/server/security/access.ts';
import { type GuardedServer, openGuardedServer } from './support.ts';

// Every route and every method that can be there, as each of the roles, as a stranger and as an impostor: real sockets, real clients.

const callers = ['nobody', 'impostor', ...roles] as const;
type CallerName = (typeof callers)[number];

/** Written out here once more, so that the server's own rules are not what they are checked by. */
const allowed: Readonly<Record<Access, readonly CallerName[]>> = {
  open: callers,
  page: callers,
  'signed-in': roles,
  predict: ['predict', 'admin'],
  files: ['predict', 'admin'],
  reports: ['predict', 'admin'],
  read: ['read', 'operate', 'admin'],
  metrics: ['read', 'operate', 'admin'],
  audit: ['read', 'operate', 'admin'],
  operate: ['operate', 'admin'],
  admin: ['admin'],
};

let guarded: GuardedServer;
beforeAll(async () => {
  guarded = await openGuardedServer();
});
afterAll(() => guarded[Symbol.asyncDispose]());

function keyOf(caller: CallerName): string | undefined {
  if (caller === 'nobody') return undefined;
  const key = guarded.keys[caller === 'impostor' ? 'admin' : (caller as Role)];
  // The id of a real key, another secret.
  return caller === 'impostor' ? `${key.slice(0, -1)}${key.endsWith('A') ? 'B' : 'A'}` : key;
}

const expectedHttp = (access: Access, caller: CallerName) => {
  if (allowed[access].includes(caller)) return 'taken';
  return caller === 'nobody' || caller === 'impostor' ? 401 : 403;
};

/** Paths that the rows of the table stand for. */
function pathsOf(row: string): { readonly method: string; readonly path: string } {
  const [method = '', url = ''] = row.split(' ');
  if (url === '/v1/*') return { method: method === 'ANY' ? 'PATCH' : method, path: `/v1/models/m${method === 'POST' ? ':predict' : ''}` };
  const path = url.replace(':task', 'embeddings').replace(/:\w+/g, 'm').replace('*', 'm/versions.json');
  return { method: method === 'ANY' ? 'PATCH' : method, path: path.startsWith('/') ? path : '/healthz' };
}

/** @returns the status; 'not here' where no route is added for the row. */
async function askHttp(row: string, key: string | undefined): Promise<number | 'not here'> {
  const { method, path } = pathsOf(row);
  const controller = new AbortController();
  const response = await fetch(guarded.server.restAddress + path, {
    method,
    signal: controller.signal,
    headers: { ...(key !== undefined && { 'x-api-key': key }), ...(method === 'POST' && { 'content-type': 'application/json' }) },
    // Small and plain, as what is answered without fastify.
    ...(method === 'POST' && { body: '{"instances": [1]}' }),
  });
  expect(response.status === 401).toBe(response.headers.get('www-authenticate')?.startsWith('Bearer realm="nearfar"') === true);
  if (response.status === 404 || response.status === 405) {
    const { error } = (await response.json()) as { error: string };
    if (method !== 'PATCH' && row !== 'GET /*' && /^(no such path|Method Not Allowed)/.test(error)) return 'not here';
  }
  // Streams of events do not end.
  controller.abort();
  return response.status;
}

describe.each(Object.entries(httpAccess) as [keyof typeof httpAccess, Access][])('%s', (row, access) => {
  test(`is for ${access}`, async (context) => {
    if ((await askHttp(row, guarded.keys.admin)) === 'not here') context.skip(`${row} is not added by this server`);
    const asked: Record<string, number | string> = {};
    for (const caller of callers) {
      // Wrong credentials are limited; that is looked at elsewhere.
      if (caller === 'impostor' && !impostorRows.has(row)) continue;
      const got = await askHttp(row, keyOf(caller));
      asked[caller] = got === 401 || got === 403 ? got : 'taken';
    }

    expect(asked).toEqual(Object.fromEntries(Object.keys(asked).map((caller) => [caller, expectedHttp(access, caller as CallerName)])));
  });
});

/** One of each access. */
const impostorRows: ReadonlySet<string> = new Set(
  Object.entries(httpAccess)
    .filter(([, access], index, rows) => rows.findIndex(([, other]) => other === access) === index)
    .map(([row]) => row),
);

const streams: Readonly<Record<string, 'server' | 'bidi'>> = {
  '/grpc.health.v1.Health/Watch': 'server',
  '/inference.GRPCInferenceService/ModelStreamInfer': 'bidi',
  '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo': 'bidi',
  '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo': 'bidi',
};

/** Status of a call; OK for a stream that begins. */
function askGrpc(client: Client, path: string, key: string | undefined): Promise<number> {
  const metadata = new Metadata();
  if (key !== undefined) metadata.set('authorization', `Bearer ${key}`);
  const bytes = (value: Buffer) => value;
  return new Promise((resolve) => {
    const kind = streams[path];
    if (kind === undefined) {
      client.makeUnaryRequest(path, bytes, bytes, Buffer.alloc(0), metadata, (error: ServiceError | null) =>
        resolve(error?.code ?? status.OK),
      );
      return;
    }
    const call =
      kind === 'bidi'
        ? client.makeBidiStreamRequest(path, bytes, bytes, metadata)
        : client.makeServerStreamRequest(path, bytes, bytes, Buffer.alloc(0), metadata);
    call.on('data', () => {
      resolve(status.OK);
      call.cancel();
    });
    call.on('error', ({ code }: ServiceError) => resolve(code));
    call.on('status', ({ code }) => resolve(code));
    if (call instanceof Writable) call.end();
  });
}

// Compressed calls are answered by grpc-js, plain ones without it.
describe.each([
  ['plain', {}],
  ['compressed', { 'grpc.default_compression_algorithm': 2 }],
])('over gRPC, %s:', (_, options) => {
  let client: Client;
  beforeAll(() => {
    client = new Client(guarded.server.grpcAddress!, credentials.createInsecure(), options);
  });
  afterAll(() => client.close());

  test.each(Object.entries(grpcAccess) as [keyof typeof grpcAccess, Access][])('%s is for %s', async (path, access) => {
    const asked: Record<string, string> = {};
    for (const caller of callers) {
      if (caller === 'impostor') continue;
      const code = await askGrpc(client, path, keyOf(caller));
      asked[caller] = code === status.UNAUTHENTICATED || code === status.PERMISSION_DENIED ? (status[code] ?? '') : 'taken';
    }

    const expected = (caller: string) => {
      if (allowed[access].includes(caller as CallerName)) return 'taken';
      return caller === 'nobody' ? 'UNAUTHENTICATED' : 'PERMISSION_DENIED';
    };
    expect(asked).toEqual(Object.fromEntries(Object.keys(asked).map((caller) => [caller, expected(caller)])));
  });

  test('an impostor is told so, with a challenge', async () => {
    const metadata = new Metadata();
    metadata.set('x-api-key', keyOf('impostor')!);

    const error = await new Promise<ServiceError>((resolve) => {
      client.makeUnaryRequest(
        '/inference.GRPCInferenceService/ServerMetadata',
        (value: Buffer) => value,
        (bytes) => bytes,
        Buffer.alloc(0),
        metadata,
        (failure) => resolve(failure!),
      );
    });

    expect(error.code).toBe(status.UNAUTHENTICATED);
    expect(error.metadata.get('nearfar-error-code')).toEqual(['unauthenticated']);
    expect(error.metadata.get('www-authenticate')).toEqual(['Bearer realm="nearfar", error="invalid_token"']);
  });
});

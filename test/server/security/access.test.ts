import { Server } from '@grpc/grpc-js';
import { fastify } from 'fastify';
import { describe, expect, test } from 'vitest';
import { accessOfMethod, accessOfRoute } from '../../../src/server/security/index.ts';
import type { GrpcContext, RestContext } from '../../../src/server/transports/context.ts';
import { GuardedServer } from '../../../src/server/transports/grpc/guard.ts';
import { addGuard } from '../../../src/server/transports/rest/guard.ts';
import { createStandInContext, createStandInStore } from '../transports/support/stand-in.ts';

// What is served is served to those for whom it is written down.

const context = createStandInContext(createStandInStore([])) as unknown as RestContext & GrpcContext;

test('a route over HTTP without a row in the table of access cannot be added', async () => {
  const app = fastify();
  addGuard(app, context);

  expect(() => app.get('/healthz', async () => 'ok')).not.toThrow();
  expect(() => app.get('/nearfar/v1/secrets', async () => 'all of them')).toThrow(/GET \/nearfar\/v1\/secrets has no row/);
  expect(() => app.post('/healthz', async () => 'ok')).toThrow(/POST \/healthz has no row/);
});

test('a method of gRPC without a row in the table of access cannot be added', () => {
  const server = new GuardedServer({}, context);
  const add = (path: string) => () =>
    server.register(
      path,
      () => {},
      (value: Buffer) => value,
      (bytes) => bytes,
      'unary',
    );

  expect(add('/grpc.health.v1.Health/Check')).not.toThrow();
  expect(add('/tensorflow.ProfilerService/Profile')).toThrow(/ProfilerService\/Profile has no row/);
  expect(server).toBeInstanceOf(Server);
});

describe('the table of access', () => {
  test.each([
    ['HEAD', '/healthz', 'open'],
    ['GET', '/v1/*', 'signed-in'],
    ['POST', '/v1/*', 'predict'],
    ['TRACE', '/v1/*', 'open'],
    ['POST', '/nearfar/v1/models/:model/versions/:version/tasks/object-detection', 'predict'],
    ['PUT', '/nearfar/v1/config', 'admin'],
  ])('says for whom %s %s is', (method, url, access) => {
    expect(accessOfRoute(method, url)).toBe(access);
  });

  test.each(['toString', '__proto__', '/constructor'])('has no row for %s, which every object has', (name) => {
    expect(() => accessOfMethod(name)).toThrow(/has no row/);
  });
});

import { afterAll, beforeAll, expect, test } from 'vitest';
import { createGrpcServer, createRestServer, type Transport } from '../../src/server/transports/index.ts';
import { fuzzGrpc, fuzzRest } from '../support/hostile-requests.ts';
import { createStandInContext, createStandInFiles, createStandInStore, half123, scorer } from './transports/support/stand-in.ts';

// Real sockets and decoders before models that are functions; test/full has the same in numbers.

const context = createStandInContext(createStandInStore([half123, scorer]));
const transports: Transport[] = [];
let base: string;
let address: string;

beforeAll(async () => {
  const rest = createRestServer({
    ...context,
    files: createStandInFiles({}),
    metricsPage: { contentType: 'text/plain', metrics: async () => '' },
    corsAllowedOrigins: [],
    timeoutMs: 30_000,
    lameDuckMs: 0,
  });
  const grpc = createGrpcServer({ ...context, lameDuckMs: 0 });
  transports.push(rest, grpc);
  base = `http://127.0.0.1:${(await rest.listen({ host: '127.0.0.1', port: 0 })).port}`;
  address = `127.0.0.1:${(await grpc.listen({ host: '127.0.0.1', port: 0 })).port}`;
});

afterAll(async () => {
  await Promise.all(transports.map((transport) => transport.close()));
});

test('damaged requests over HTTP are answered or refused, and the next good one is answered', async () => {
  await fuzzRest(base, 300);

  expect(context.errors).toEqual([]);
});

test('damaged messages over gRPC are answered or refused, and the next good one is answered', async () => {
  await fuzzGrpc(address, 300);

  expect(context.errors).toEqual([]);
});

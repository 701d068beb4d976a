import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Client, credentials, Server, ServerCredentials, type ServiceError, status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { Health, NearfarError } from '../../../src/core/index.ts';
import { createLog } from '../../../src/server/log.ts';
import { answerDirectly } from '../../../src/server/transports/grpc/direct.ts';
import { registerUnary } from '../../../src/server/transports/grpc/grpc-js-call.ts';
import { addUnary, type UnaryMethods } from '../../../src/server/transports/grpc/unary.ts';
import { createStandInContext, createStandInStore } from './support/stand-in.ts';

const { check } = Health.method;
const hourMs = 3_600_000;

let server: Server;
let client: Client;
/** Answers the calls of the test. */
let handle: (signal: AbortSignal) => ReturnType<typeof answer> | Promise<ReturnType<typeof answer>>;
/** The signals of the calls that came; a signal that was asked for is ended by a timer. */
let signals: AbortSignal[];

const answer = () => create(check.output, { status: 1 });

async function open(readsCalls: 'grpc-js' | 'itself'): Promise<void> {
  signals = [];
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  server = new Server();
  const methods: UnaryMethods = new Map();
  const context = { log: createLog('silent'), admin: createStandInContext(createStandInStore([])).admin };
  addUnary(methods, check, context, (_, { signal }) => {
    signals.push(signal);
    return handle(signal);
  });
  for (const [path, answerCall] of methods) registerUnary(server, path, answerCall);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  if (readsCalls === 'itself') answerDirectly(server, methods, {}, context)();
  client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
}

afterEach(() => {
  client.close();
  server.forceShutdown();
});

/** The status of a call that has an hour. */
function callStatus(): Promise<number> {
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      `/${check.parent.typeName}/${check.name}`,
      (value: Uint8Array) => Buffer.from(value),
      (value) => fromBinary(check.output, value),
      toBinary(check.input, create(check.input)),
      { deadline: Date.now() + hourMs },
      (error: ServiceError | null) => resolve(error?.code ?? status.OK),
    );
  });
}

describe.each(['grpc-js', 'itself'] as const)('where calls are read by %s', (reader) => {
  beforeEach(() => open(reader));

  test.each([
    ['answers at once', answer, status.OK],
    ['answers later', async () => answer(), status.OK],
    [
      'throws at once',
      () => {
        throw new NearfarError('not-found', 'gone');
      },
      status.NOT_FOUND,
    ],
    ['rejects later', () => Promise.reject(new NearfarError('not-found', 'gone')), status.NOT_FOUND],
  ])('a call whose handler %s leaves no timer of its deadline behind', async (_, handler, expected) => {
    handle = handler;

    const code = await callStatus();
    vi.advanceTimersByTime(2 * hourMs);

    expect(code).toBe(expected);
    expect(signals.map(({ aborted }) => aborted)).toEqual([false]);
  });

  test('a call that is not answered ends with its deadline', async () => {
    const began = new Promise<void>((resolve) => {
      handle = (signal) => {
        resolve();
        return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
      };
    });

    const code = callStatus();
    await began;
    vi.advanceTimersByTime(2 * hourMs);

    expect(await code).toBe(status.DEADLINE_EXCEEDED);
    expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
  });
});

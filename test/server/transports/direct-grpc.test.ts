import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from 'node:http2';
import { setImmediate } from 'node:timers/promises';
import { deflateSync, gzipSync } from 'node:zlib';
import { create, type DescMethodUnary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { Server } from '@grpc/grpc-js';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import {
  createTensor,
  encodeTensorProto,
  GRPCInferenceService,
  Health,
  ModelService,
  PredictionService,
  tensorBytes,
} from '../../../src/core/index.ts';
import type { ChannelArguments } from '../../../src/server/channel-arguments.ts';
import { createGrpcServer } from '../../../src/server/transports/index.ts';
import { mutations } from '../../support/mutations.ts';
import { createSlowVersion, createStandInContext, createStandInStore, half123, half124, scorer } from './support/stand-in.ts';

// Two servers on real sockets, one of which answers unary calls on the streams themselves, the other through grpc-js.

/** The paths of the calls that reached a handler by way of grpc-js. */
const byGrpcJs: string[] = [];

interface Asked {
  readonly session: ClientHttp2Session;
  readonly context: ReturnType<typeof createStandInContext>;
  readonly store: ReturnType<typeof createStandInStore>;
  readonly slow: ReturnType<typeof createSlowVersion>;
  readonly path: 'direct' | 'grpc-js';
}

const limits: ChannelArguments = { 'grpc.max_receive_message_length': 4000, 'grpc.max_send_message_length': 1000 };
const closing: (() => Promise<void>)[] = [];
let direct: Asked;
let grpcJs: Asked;

async function open(path: Asked['path']): Promise<Asked> {
  const slow = createSlowVersion();
  const store = createStandInStore([half123, half124, scorer, slow]);
  const context = createStandInContext(store);
  const idle: ChannelArguments = path === 'grpc-js' ? { 'grpc.max_connection_idle_ms': 2 ** 31 - 1 } : {};
  const transport = createGrpcServer({ ...context, lameDuckMs: 0, channelArguments: { ...limits, ...idle } });
  const { port } = await transport.listen({ host: '127.0.0.1', port: 0 });
  const session = connect(`http://127.0.0.1:${port}`);
  closing.push(async () => {
    slow.finish();
    session.close();
    await transport.close();
  });
  return { session, context, store, slow, path };
}

beforeAll(async () => {
  const register = Server.prototype.register;
  vi.spyOn(Server.prototype, 'register').mockImplementation(function (this: Server, path: string, handler, ...rest) {
    const counted = (...given: unknown[]) => {
      byGrpcJs.push(path);
      return Reflect.apply(handler, undefined, given);
    };
    return Reflect.apply(register, this, [path, counted, ...rest]);
  });
  direct = await open('direct');
  grpcJs = await open('grpc-js');
});

afterAll(async () => {
  for (const close of closing) await close();
  vi.restoreAllMocks();
});

interface Question {
  readonly path: string;
  readonly frames: readonly Uint8Array[];
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
}

/** All that comes back on the stream, but for the date. */
async function ask({ session }: Asked, { path, frames, headers = {} }: Question): Promise<object> {
  const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers', ...headers });
  const chunks: Buffer[] = [];
  let answered: IncomingHttpHeaders = {};
  let trailers: IncomingHttpHeaders = {};
  stream.on('error', () => {});
  stream.on('response', (fields) => {
    answered = fields;
  });
  stream.on('trailers', (fields) => {
    trailers = fields;
  });
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  const closed = new Promise((resolve) => stream.once('close', resolve));
  for (const frame of frames) {
    stream.write(frame);
    await setImmediate();
  }
  stream.end();
  await closed;
  return { headers: { ...answered, date: undefined }, trailers: { ...trailers }, body: Buffer.concat(chunks).toString('hex') };
}

function framed(message: Uint8Array, isCompressed = false): Uint8Array {
  const head = Buffer.alloc(5);
  head[0] = Number(isCompressed);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function question<I extends DescMethodUnary>(method: I, message: MessageInitShape<I['input']>, headers = {}): Question {
  const bytes = toBinary(method.input, create(method.input, message));
  return { path: pathOf(method), frames: [framed(bytes)], headers };
}

function pathOf({ parent, name }: DescMethodUnary): string {
  return `/${parent.typeName}/${name}`;
}

const { predict, classify, getModelMetadata } = PredictionService.method;
const { modelInfer, serverLive } = GRPCInferenceService.method;
const x = createTensor('float32', [3, 1], new Float32Array([1, 2, 5]));
const half = (name = 'half_plus_two', tensor = x) => ({ modelSpec: { name }, inputs: { x: encodeTensorProto(tensor) } });
const many = (length: number) => createTensor('float32', [length], new Float32Array(length));
const bytesOf = (name?: string, tensor = x) => toBinary(predict.input, create(predict.input, half(name, tensor)));
const bytes = bytesOf();
const predicts = (frames: readonly Uint8Array[], headers = {}): Question => ({ path: pathOf(predict), frames, headers });
const inputs = [{ name: 'x', datatype: 'FP32', shape: [3n, 1n] }];
const inferred = { modelName: 'half_plus_two', id: 'a', inputs, rawInputContents: [tensorBytes('x', x)] };

/** Answered by both alike, and by the handlers directly where nothing else is said. */
const questions: Readonly<Record<string, Question>> = {
  'a prediction': question(predict, half()),
  'an inference': question(modelInfer, inferred),
  'a version that is pinned': question(predict, half(), { 'nearfar-model-digest': half123.digest }),
  'metadata of all kinds': question(predict, half(), {
    traceparent: 'none',
    'x-more': ['a', 'b'],
    'x-more-bin': 'AAE=',
    'user-agent': 'me',
  }),
  'another content type of gRPC': question(predict, half(), { 'content-type': 'application/grpc+proto' }),
  'an encoding that changes nothing': question(predict, half(), { 'grpc-encoding': 'identity' }),
  'a deadline far away': question(predict, half(), { 'grpc-timeout': '20S' }),
  'metadata of a model': question(getModelMetadata, { modelSpec: { name: 'half_plus_two' }, metadataField: ['signature_def'] }),
  'the status of a model': question(ModelService.method.getModelStatus, { modelSpec: { name: 'half_plus_two' } }),
  'a model that is none': question(predict, half('none')),
  'a name that is cut within a character': question(ModelService.method.getModelStatus, { modelSpec: { name: '😀'.repeat(600) } }),
  'nothing to classify': question(classify, { modelSpec: { name: 'scorer' } }),
  'its health': question(Health.method.check, { service: '' }),
  'a service that is none': question(Health.method.check, { service: 'none' }),
  'a message of no bytes': question(serverLive, {}),
  'bytes that are no message': predicts([framed(Uint8Array.of(0xff, 0xff))]),
  'a message marked as compressed, which it is not': predicts([framed(bytes, true)]),
  'a message in many frames': predicts(Array.from(framed(bytes), (byte) => Uint8Array.of(byte))),
  'a head in two frames': predicts([framed(bytes).subarray(0, 3), framed(bytes).subarray(3)]),
  'no message': predicts([]),
  'half a head': predicts([framed(bytes).subarray(0, 3)]),
  'half a message': predicts([framed(bytes).subarray(0, 20)]),
  'two messages': predicts([framed(bytes), framed(bytes)]),
  'a message that is too large': predicts([framed(bytesOf(undefined, many(2000)))]),
  'the promise of one': predicts([Uint8Array.of(0, 0xff, 0xff, 0xff, 0xff)]),
  'an answer that is too large': predicts([framed(bytesOf(undefined, many(900)))]),
};

const left: typeof questions = {
  'a gzipped message': predicts([framed(gzipSync(bytes), true)], { 'grpc-encoding': 'gzip' }),
  'a deflated message': predicts([framed(deflateSync(bytes), true)], { 'grpc-encoding': 'deflate' }),
  'a gzipped message that is none': predicts([framed(bytes, true)], { 'grpc-encoding': 'gzip' }),
  'an encoding that is none': predicts([framed(bytes, true)], { 'grpc-encoding': 'none' }),
  'a timeout that is none': question(predict, half(), { 'grpc-timeout': 'soon' }),
  'a method that is none': { path: '/none/None', frames: [framed(bytes)] },
  'a content type that is none': question(predict, half(), { 'content-type': 'text/plain' }),
  'a method of Triton that is not served': { path: '/inference.GRPCInferenceService/TraceSetting', frames: [framed(new Uint8Array())] },
};

describe('answers and records as grpc-js does', () => {
  test.each(Object.entries(questions))('%s', async (_, asked) => {
    byGrpcJs.length = 0;
    const answer = await ask(direct, asked);

    expect(byGrpcJs).toEqual([]);
    expect(answer).toEqual(await ask(grpcJs, asked));
    expect(answer).toMatchObject({ headers: { ':status': 200 } });
    expect(recordsOf(direct)).toEqual(recordsOf(grpcJs));
  });

  test.each(Object.entries(left))('%s, which it leaves to it', async (_, asked) => {
    const answer = await ask(direct, asked);

    expect(answer).toEqual(await ask(grpcJs, asked));
    expect(answer).toMatchObject({ headers: { ':status': expect.any(Number) } });
  });

  test('damaged messages, in frames of any size', async () => {
    const messages = fc
      .constantFrom(predicts([bytes]), question(modelInfer, inferred))
      .map(({ path, frames: [message] }) => ({ path, message }));
    const damage = fc.option(mutations, { freq: 1, nil: (message: Uint8Array) => message });
    let answered = 0;

    await fc.assert(
      fc.asyncProperty(messages, damage, fc.array(fc.nat(100), { maxLength: 3 }), async ({ path, message }, mutate, cuts) => {
        const frame = framed(mutate(message ?? new Uint8Array()));
        const ends = [...cuts.filter((cut) => cut < frame.length).sort((a, b) => a - b), frame.length];
        const asked = { path, frames: ends.map((end, index) => frame.subarray(ends[index - 1] ?? 0, end)) };
        const answer = await ask(direct, asked);
        answered += Number('body' in answer && answer.body !== '');

        expect(answer).toEqual(await ask(grpcJs, asked));
      }),
      { numRuns: 300 },
    );

    expect(answered).toBeGreaterThan(60);
  });

  function recordsOf({ context }: Asked): object[] {
    return context.records.splice(0).map(({ model, api, entrypoint, status, errorCode, servable }) => {
      return { model, api, entrypoint, status, errorCode, version: servable?.version };
    });
  }
});

test('a picture may be sent at once, before any of it is read', async () => {
  const asked = await open('direct');
  await ask(asked, question(predict, half()));

  expect(asked.session.remoteSettings.initialWindowSize).toBe(4 * 2 ** 20);
  expect(asked.session.state.remoteWindowSize).toBeGreaterThan(8 * 2 ** 20);
});

describe.each(['direct', 'grpc-js'] as const)('over %s', (path) => {
  test.each(['30m', '1n'])('a deadline of %s ends the call, and what it waits for', async (timeout) => {
    const asked = await open(path);

    const answer = await ask(asked, question(predict, half('slow'), { 'grpc-timeout': timeout }));

    expect(answer).toMatchObject({ headers: { 'grpc-status': '4' } });
    asked.slow.finish();
    await expect.poll(() => asked.store.lent).toBe(0);
    expect(asked.context.records.at(-1)).toMatchObject({ status: expect.stringMatching(/^DEADLINE_EXCEEDED|CANCELLED$/) });
  });

  test('a deadline ends a call whose message does not come', async () => {
    const asked = path === 'direct' ? direct : grpcJs;
    const { frames, path: method } = question(predict, half());
    const headers = { ':method': 'POST', ':path': method, 'content-type': 'application/grpc', 'grpc-timeout': '30m' };
    const stream = asked.session.request(headers);
    stream.write(frames[0]?.subarray(0, 9));

    const answer = await new Promise<IncomingHttpHeaders>((resolve) => stream.once('response', resolve));

    expect(answer).toMatchObject({ 'grpc-status': '4', 'grpc-message': 'Deadline%20exceeded' });
    stream.close();
  });

  test('a call that its client cancels is given up', async () => {
    const asked = await open(path);
    const { frames, path: method } = question(predict, half('slow'));
    const stream = asked.session.request({ ':method': 'POST', ':path': method, 'content-type': 'application/grpc' });
    stream.on('error', () => {});
    stream.end(frames[0]);
    await asked.slow.started;

    stream.close(8);

    expect(await asked.slow.aborted).toMatchObject({ code: 'cancelled' });
    await expect.poll(() => asked.context.records.at(-1)).toMatchObject({ status: 'CANCELLED' });
  });

  test('a server that closes answers what it has begun', async () => {
    const asked = await open(path);
    const answer = ask(asked, question(predict, half('slow')));
    await asked.slow.started;

    const closed = closing.at(-1)?.();

    expect(await answer).toMatchObject({ trailers: { 'grpc-status': '0' } });
    await closed;
  });
});

import {
  create,
  type DescMessage,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { Client, type ClientDuplexStream, credentials, type ServiceError, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { GRPCInferenceService } from '../../../src/core/index.ts';
import { createGrpcServer, type Transport } from '../../../src/server/transports/index.ts';
import { bright, createSlowVersion, createStandInContext, createStandInStore, half16, half123, half124 } from './support/stand-in.ts';

const slow = createSlowVersion();
const context = createStandInContext(createStandInStore([half123, half124, half16, bright, slow]));
let transport: Transport;
let client: Client;

beforeAll(async () => {
  transport = createGrpcServer(context);
  const { port } = await transport.listen({ host: '127.0.0.1', port: 0 });
  client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
});

afterAll(async () => {
  slow.finish();
  client.close();
  await transport.close();
});

const { method } = GRPCInferenceService;
const serialize = (bytes: Uint8Array) => Buffer.from(bytes);

function ask<I extends DescMessage, O extends DescMessage>(
  one: DescMethodUnary<I, O>,
  init: MessageInitShape<I>,
): Promise<MessageShape<O>> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      `/${one.parent.typeName}/${one.name}`,
      serialize,
      (bytes) => fromBinary(one.output, bytes),
      toBinary(one.input, create(one.input, init)),
      (error: ServiceError | null, value?: MessageShape<O>) => (value ? resolve(value) : reject(error)),
    );
  });
}

const { modelInfer } = method;
const typed = (values: readonly number[]) => ({
  name: 'x',
  datatype: 'FP32',
  shape: [BigInt(values.length)],
  contents: { fp32Contents: [...values] },
});
const parameter = (value: string | boolean | bigint) => {
  const names = { string: 'stringParam', boolean: 'boolParam', bigint: 'int64Param' } as const;
  return { parameterChoice: { case: names[typeof value as keyof typeof names], value } } as never;
};

describe('ModelInfer', () => {
  test('takes and gives FP16 as raw contents', async () => {
    const raw = new Uint8Array(Uint16Array.of(0x3c00, 0x7c00, 0x8000).buffer);
    const inputs = [{ name: 'x', datatype: 'FP16', shape: [3n] }];

    const answer = await ask(modelInfer, { modelName: 'half_precision', inputs, rawInputContents: [raw] });

    expect(answer.outputs).toMatchObject([{ name: 'y', datatype: 'FP16', shape: [3n] }]);
    expect(answer.rawOutputContents.map((bytes) => new Uint8Array(bytes))).toEqual([raw]);
  });

  test('answers classes with the labels of the task', async () => {
    const { outputs, rawOutputContents } = await ask(modelInfer, {
      modelName: 'bright',
      inputs: [{ name: 'image', datatype: 'FP32', shape: [1n, 2n, 2n, 3n], contents: { fp32Contents: Array(12).fill(0.25) } }],
      outputs: [{ name: 'scores', parameters: { classification: parameter(2n) } }],
    });

    expect(outputs).toMatchObject([{ name: 'scores', datatype: 'BYTES', shape: [1n, 2n] }]);
    expect(Buffer.from(rawOutputContents[0]!).toString('latin1')).toBe('\x10\0\0\x000.750000:0:black\x10\0\0\x000.250000:1:white');
  });

  test('timeout is a deadline in microseconds', async () => {
    const asked = ask(modelInfer, { modelName: 'slow', inputs: [typed([1])], parameters: { timeout: parameter(20_000n) } });

    await expect(asked).rejects.toMatchObject({ code: status.DEADLINE_EXCEEDED });
  });

  test.each<[string, MessageInitShape<typeof modelInfer.input>, RegExp]>([
    [
      'raw beside typed contents',
      { inputs: [typed([1])], rawInputContents: [new Uint8Array(4)] },
      /contents field must not be specified when using raw_input_contents for 'x'/,
    ],
    [
      'too few raw contents',
      {
        inputs: [
          { name: 'x', datatype: 'FP32', shape: [1n] },
          { name: 'y', datatype: 'FP32', shape: [1n] },
        ],
        rawInputContents: [new Uint8Array(4)],
      },
      /raw_input_contents has 1 tensors for 2 inputs/,
    ],
    ['an input given twice', { inputs: [typed([1]), typed([2])] }, /tensor 'x' is given twice/],
    ['half precision in typed contents', { inputs: [{ ...typed([1]), datatype: 'FP16' }] }, /FP16 is sent in raw_input_contents/],
    [
      'a number that its datatype cannot hold',
      { inputs: [{ name: 'x', datatype: 'INT8', shape: [1n], contents: { intContents: [300] } }] },
      /tensor 'x' of INT8 cannot hold 300 at index 0/,
    ],
  ])('refuses %s', async (_, request, details) => {
    await expect(ask(modelInfer, { modelName: 'half_plus_two', ...request })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: expect.stringMatching(details),
    });
  });

  test('shared memory is UNIMPLEMENTED', async () => {
    const input = { name: 'x', datatype: 'FP32', shape: [1n], parameters: { shared_memory_region: parameter('r') } };

    await expect(ask(modelInfer, { modelName: 'half_plus_two', inputs: [input] })).rejects.toMatchObject({ code: status.UNIMPLEMENTED });
  });
});

describe('ModelStreamInfer', () => {
  const { modelStreamInfer } = method;
  type Stream = ClientDuplexStream<MessageInitShape<typeof modelInfer.input>, MessageShape<typeof modelStreamInfer.output>>;
  const open = (): Stream =>
    client.makeBidiStreamRequest(
      `/${GRPCInferenceService.typeName}/ModelStreamInfer`,
      (init: MessageInitShape<typeof modelInfer.input>) => serialize(toBinary(modelInfer.input, create(modelInfer.input, init))),
      (bytes) => fromBinary(modelStreamInfer.output, bytes),
    );
  const collect = async (stream: Stream) => {
    const answers = [];
    for await (const answer of stream) answers.push(answer as MessageShape<typeof modelStreamInfer.output>);
    return answers;
  };

  test('answers each request once and in order, goes on after one that fails, and ends with its client', async () => {
    const stream = open();
    const count = 60;
    for (let index = 0; index < count; index++) {
      stream.write({
        modelName: index === 7 ? 'none' : 'half_plus_two',
        id: String(index),
        inputs: [typed([2 * index])],
        parameters: { triton_enable_empty_final_response: parameter(index === 0) },
      });
    }
    stream.end();

    const answers = await collect(stream);

    expect(answers.map(({ inferResponse }) => inferResponse?.id)).toEqual(Array.from({ length: count }, (_, index) => String(index)));
    expect(answers.map(({ errorMessage }) => errorMessage)).toEqual(
      Array.from({ length: count }, (_, index) => (index === 7 ? 'Servable not found for request: Latest(none)' : '')),
    );
    const values = answers
      .map(({ inferResponse }) => inferResponse?.rawOutputContents[0])
      .map((bytes) => bytes && Buffer.from(bytes).readFloatLE());
    expect(values).toEqual(Array.from({ length: count }, (_, index) => (index === 7 ? undefined : index + 2)));
    expect(answers[0]?.inferResponse?.parameters['triton_final_response']?.parameterChoice.value).toBe(true);
    expect(answers[1]?.inferResponse?.parameters['triton_final_response']).toBeUndefined();
  });

  /** A stream of a server of its own, with one request that runs. */
  const openSlow = async () => {
    const own = createSlowVersion();
    const other = createGrpcServer(createStandInContext(createStandInStore([own])));
    const { port } = await other.listen({ host: '127.0.0.1', port: 0 });
    const otherClient = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
    const stream = otherClient.makeBidiStreamRequest(`/${GRPCInferenceService.typeName}/ModelStreamInfer`, serialize, (bytes) => bytes);
    const ended = new Promise<ServiceError>((resolve) => stream.on('error', resolve));
    stream.write(toBinary(modelInfer.input, create(modelInfer.input, { modelName: 'slow', inputs: [typed([1])] })));
    await own.started;
    return { own, other, stream, ended, close: () => otherClient.close() };
  };

  test('cancelling reaches what runs', async () => {
    const { own, other, stream, close } = await openSlow();

    stream.cancel();

    expect(await own.aborted).toMatchObject({ code: 'cancelled' });
    own.finish();
    close();
    await other.close();
  });

  test('a server that closes answers what it has read, and ends the stream', async () => {
    const { own, other, stream, ended, close } = await openSlow();
    const answers: Buffer[] = [];
    stream.on('data', (answer: Buffer) => answers.push(answer));

    const closing = other.close();
    own.finish();

    await closing;
    expect(await ended).toMatchObject({ code: status.UNAVAILABLE });
    expect(answers.map((bytes) => fromBinary(modelStreamInfer.output, bytes))).toMatchObject([{ errorMessage: '' }]);
    close();
  });
});

test('statistics, configuration and index are those of REST', async () => {
  await ask(modelInfer, { modelName: 'half_plus_two', inputs: [typed([1])] });

  const { modelStats } = await ask(method.modelStatistics, { name: 'half_plus_two', version: 'canary' });
  const { config } = await ask(method.modelConfig, { name: 'bright' });
  const { models } = await ask(method.repositoryIndex, { ready: true });

  expect(modelStats).toMatchObject([
    { name: 'half_plus_two', version: '124', lastInference: 1_700_000_000_000n, batchStats: [{ batchSize: 1n }] },
  ]);
  expect(modelStats[0]?.inferenceStats?.success?.count).toBeGreaterThan(0n);
  expect(config).toMatchObject({
    name: 'bright',
    maxBatchSize: 1000,
    input: [{ name: 'image', dataType: 11, format: 1, dims: [2n, 2n, 3n] }],
  });
  expect(models).toHaveLength(5);
  await expect(ask(method.modelStatistics, { name: 'none' })).rejects.toMatchObject({ code: status.NOT_FOUND });
});

test('loads and unloads, with files as bytes', async () => {
  await ask(method.repositoryModelLoad, {
    modelName: 'a',
    parameters: {
      config: parameter('{}'),
      'file:1/model.onnx': { parameterChoice: { case: 'bytesParam', value: Uint8Array.of(1, 2) } },
    },
  });
  await ask(method.repositoryModelUnload, { modelName: 'a', parameters: { unload_dependents: parameter(false) } });

  expect(context.changes).toEqual([
    { load: 'a', request: { config: {}, files: new Map([['1/model.onnx', Buffer.of(1, 2)]]) } },
    { unload: 'a' },
  ]);
});

test('what is not served says why', async () => {
  const asked = new Promise((resolve) =>
    client.makeUnaryRequest(
      `/${GRPCInferenceService.typeName}/SystemSharedMemoryStatus`,
      serialize,
      (bytes) => bytes,
      new Uint8Array(),
      resolve,
    ),
  );

  expect(await asked).toMatchObject({
    code: status.UNIMPLEMENTED,
    details: 'shared memory is not served: send tensors in raw_input_contents',
  });
});

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import {
  create,
  createFileRegistry,
  type DescMessage,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { anyUnpack, FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { type CallOptions, Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  createTensor,
  decodeTensorProto,
  encodeTensorProto,
  GRPCInferenceService,
  Health,
  ModelService,
  NearfarError,
  PredictionService,
  ServerReflection,
  SignatureDefMapSchema,
  tensorFromBytes,
} from '../../../src/core/index.ts';
import { PredictRequestSchema } from '../../../src/core/protocol/gen/tensorflow_serving/apis/predict_pb.ts';
import { createGrpcServer, type Transport } from '../../../src/server/transports/index.ts';
import { sharedData } from '../../support/shared-data.ts';
import { createSlowVersion, createStandInContext, createStandInStore, half123, half124, scorer } from './support/stand-in.ts';

const slow = createSlowVersion();
const long = { ...half123, name: 'long', run: () => Promise.reject(new Error('x')) };
/** An engine that cannot run one of its signatures, and so none that is joined of it and others. */
const partial: typeof scorer = {
  ...scorer,
  name: 'partial',
  run: async (request, options) => {
    if (request.signature.includes('+')) throw new NearfarError('unsupported', 'one of the signatures does not run here');
    return scorer.run(request, options);
  },
};
const store = createStandInStore([half123, half124, scorer, partial, slow, long]);
const context = createStandInContext(store);
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

interface Answer<T> {
  readonly message: T;
  readonly trailer: Metadata;
}

/** A call of the real client with raw bytes, so that the messages on the wire are those of the protocol. */
function callBytes<O extends DescMessage>(
  path: string,
  bytes: Uint8Array,
  output: O,
  { metadata = new Metadata(), ...options }: CallOptions & { metadata?: Metadata } = {},
): Promise<Answer<MessageShape<O>>> {
  return new Promise((resolve, reject) => {
    let answered: MessageShape<O> | undefined;
    const call = client.makeUnaryRequest<Uint8Array, MessageShape<O>>(
      path,
      (value) => Buffer.from(value),
      (value) => fromBinary(output, value),
      bytes,
      metadata,
      options,
      (error: ServiceError | null, value) => {
        if (error) reject(error);
        else answered = value;
      },
    );
    call.on('status', ({ metadata: trailer }) => answered && resolve({ message: answered, trailer }));
  });
}

function ask<I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  message: MessageShape<I>,
  options?: CallOptions & { metadata?: Metadata },
): Promise<Answer<MessageShape<O>>> {
  return callBytes(`/${method.parent.typeName}/${method.name}`, toBinary(method.input, message), method.output, options);
}

const x = createTensor('float32', [3, 1], new Float32Array([1, 2, 5]));
const { predict, getModelMetadata } = PredictionService.method;
const predictRequest = (spec: object, fields: object = {}) =>
  create(predict.input, { modelSpec: { name: 'half_plus_two', ...spec }, inputs: { x: encodeTensorProto(x) }, ...fields });

describe('PredictionService', () => {
  test('predicts with typed values, the resolved version, and the version behind the answer', async () => {
    const { message, trailer } = await ask(predict, predictRequest({}));

    expect(message.outputs['y']).toMatchObject({ floatVal: [2.5, 3, 4.5], tensorContent: new Uint8Array() });
    expect(message.modelSpec).toMatchObject({
      name: 'half_plus_two',
      signatureName: 'serving_default',
      versionChoice: { case: 'version', value: { value: 124n } },
    });
    expect(trailer.getMap()).toMatchObject({
      'nearfar-model-version': '124',
      'nearfar-model-digest': half124.digest,
      'nearfar-backend': 'tfjs-cpu',
      'nearfar-variant': 'v',
    });
    expect(context.records.at(-1)).toMatchObject({ model: 'half_plus_two', api: 'Predict', entrypoint: 'GRPC', status: 'OK' });
  });

  test('answers eight large requests at once with their own, numbers, strings and all', async () => {
    const numbers = (first: number) => Float32Array.from({ length: 30_000 }, (_, index) => first + index);
    const requests = Array.from({ length: 8 }, (_, index) => {
      const inputs = {
        x: encodeTensorProto(createTensor('float32', [30_000], numbers(index)), { asContent: true }),
        s_bytes: encodeTensorProto(createTensor('string', [2], [new Uint8Array(index), Uint8Array.of(index, 1, 2)])),
        n: encodeTensorProto(createTensor('int64', [1], BigInt64Array.of(BigInt(index))), { asContent: true }),
      };
      return create(predict.input, { modelSpec: { name: 'half_plus_two', signatureName: 'many' }, inputs });
    });

    const answers = await Promise.all(requests.map((request) => ask(predict, request)));

    for (const [index, { message }] of answers.entries()) {
      expect(message.outputs['y']?.floatVal).toEqual(Array.from(numbers(index), (value) => value / 2 + 2));
      expect(message.outputs['s_bytes']?.stringVal.map((bytes) => [...bytes])).toEqual([Array(index).fill(0), [index, 1, 2]]);
      expect(message.outputs['n']?.int64Val).toEqual([BigInt(index)]);
    }
  });

  test('takes messages over the 4 MiB at which gRPC libraries begin', async () => {
    const large = createTensor('float32', [2_500_000], new Float32Array(2_500_000));
    const inputs = {
      x: encodeTensorProto(large, { asContent: true }),
      s_bytes: encodeTensorProto(createTensor('string', [1], [new Uint8Array()])),
      n: encodeTensorProto(createTensor('int64', [1], BigInt64Array.of(7n))),
    };
    const modelSpec = { name: 'half_plus_two', signatureName: 'many' };

    const { message } = await ask(predict, create(predict.input, { modelSpec, inputs, outputFilter: ['n'] }));

    expect(message.outputs['n']?.int64Val).toEqual([7n]);
  });

  test('takes a version and a label', async () => {
    const byVersion = await ask(predict, predictRequest({ versionChoice: { case: 'version', value: { value: 123n } } }));
    const byLabel = await ask(predict, predictRequest({ versionChoice: { case: 'versionLabel', value: 'stable' } }));

    expect([byVersion, byLabel].map(({ trailer }) => trailer.get('nearfar-model-version'))).toEqual([['123'], ['123']]);
  });

  test.each([
    ['a missing model', predictRequest({ name: 'none' }), status.NOT_FOUND, 'Servable not found for request: Latest(none)'],
    [
      'a missing version',
      predictRequest({ versionChoice: { case: 'version', value: { value: 5n } } }),
      status.NOT_FOUND,
      'Servable not found for request: Specific(half_plus_two, 5)',
    ],
    [
      'an unknown label',
      predictRequest({ versionChoice: { case: 'versionLabel', value: 'x' } }),
      status.INVALID_ARGUMENT,
      'Unrecognized servable version label: x',
    ],
    ['no model spec', create(predict.input, {}), status.INVALID_ARGUMENT, 'Missing ModelSpec'],
    ['no name', predictRequest({ name: '' }), status.INVALID_ARGUMENT, 'ModelSpec has no name specified.'],
    ['an unknown signature', predictRequest({ signatureName: 'no' }), status.FAILED_PRECONDITION, 'Serving signature key "no" not found.'],
    [
      'no input',
      predictRequest({}, { inputs: {} }),
      status.INVALID_ARGUMENT,
      'input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.',
    ],
    [
      'another input',
      predictRequest({}, { inputs: { z: encodeTensorProto(x) } }),
      status.INVALID_ARGUMENT,
      'input tensor alias not found in signature: z. Inputs expected to be in the set {x}.',
    ],
    [
      'a bad filter',
      predictRequest({}, { outputFilter: ['z'] }),
      status.INVALID_ARGUMENT,
      'output tensor alias not found in signature: z Outputs expected to be in the set {y}.',
    ],
    ['a filter given twice', predictRequest({}, { outputFilter: ['y', 'y'] }), status.INVALID_ARGUMENT, 'duplicate output tensor alias: y'],
    ['an unreadable tensor', predictRequest({}, { inputs: { x: { dtype: 20 } } }), status.INVALID_ARGUMENT, 'tensor parsing error: x'],
  ])('answers %s as TensorFlow Serving does', async (_, request, code, details) => {
    await expect(ask(predict, request)).rejects.toMatchObject({ code, details });
  });

  test('cuts a long message', async () => {
    const asked = ask(predict, predictRequest({ name: 'n'.repeat(3000) }));

    const details = await asked.catch((error: ServiceError) => error.details);
    expect(details).toMatch(/^Servable not found for request: Latest\(n+\.\.\.TRUNCATED$/);
    expect(String(details).length).toBe(1024 + '...TRUNCATED'.length);
  });

  test('cuts a long message within a character', async () => {
    const { getModelStatus } = ModelService.method;
    const asked = ask(getModelStatus, create(getModelStatus.input, { modelSpec: { name: '😀'.repeat(600) } }));

    await expect(asked).rejects.toMatchObject({
      code: status.NOT_FOUND,
      details: expect.stringMatching(/^Could not find any versions of model (😀)+\ufffd\.\.\.TRUNCATED$/u),
    });
  });

  test('another digest than the wanted one is FAILED_PRECONDITION, with our code behind it', async () => {
    const metadata = new Metadata();
    metadata.set('nearfar-model-digest', half123.digest);

    const asked = ask(predict, predictRequest({}), { metadata });

    await expect(asked).rejects.toMatchObject({ code: status.FAILED_PRECONDITION });
    const error = await asked.catch((caught: ServiceError) => caught);
    expect('metadata' in error && error.metadata.get('nearfar-error-code')).toEqual(['version-mismatch']);
  });

  test('an error of our own making keeps its text in the log', async () => {
    await expect(ask(predict, predictRequest({ name: 'long' }))).rejects.toMatchObject({
      code: status.INTERNAL,
      details: 'internal error',
    });
    expect(context.errors).toHaveLength(1);
  });

  test('a deadline reaches the signal', async () => {
    await expect(ask(predict, predictRequest({ name: 'slow' }), { deadline: Date.now() + 50 })).rejects.toMatchObject({
      code: status.DEADLINE_EXCEEDED,
    });

    expect(await slow.aborted).toMatchObject({ name: 'NearfarError' });
    slow.finish();
    await expect.poll(() => store.lent).toBe(0);
  });

  test('cancelling reaches the signal, and close() lets what is in flight finish', async () => {
    const gone = createSlowVersion();
    const other = createGrpcServer(createStandInContext(createStandInStore([gone])));
    const { port } = await other.listen({ host: '127.0.0.1', port: 0 });
    const own = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
    const bytes = toBinary(predict.input, predictRequest({ name: 'slow' }));
    const send = (done: (error: ServiceError | null, value?: Buffer) => void) =>
      own.makeUnaryRequest(
        '/tensorflow.serving.PredictionService/Predict',
        (value: Uint8Array) => Buffer.from(value),
        (value) => value,
        bytes,
        done,
      );

    const cancelled = send(() => undefined);
    await gone.started;
    cancelled.cancel();
    expect(await gone.aborted).toMatchObject({ code: 'cancelled' });
    const answered = new Promise<Buffer | undefined>((resolve, reject) => send((error, value) => (error ? reject(error) : resolve(value))));
    gone.finish();

    expect(fromBinary(predict.output, (await answered) ?? new Uint8Array()).outputs['y']?.floatVal).toEqual([2.5, 3, 4.5]);
    own.close();
    await other.close();
  });

  test('cut() ends a call that nothing else ends', async () => {
    const stuck = createSlowVersion();
    const other = createGrpcServer(createStandInContext(createStandInStore([stuck])));
    const { port } = await other.listen({ host: '127.0.0.1', port: 0 });
    const own = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
    const failed = new Promise<ServiceError | null>((resolve) =>
      own.makeUnaryRequest(
        '/tensorflow.serving.PredictionService/Predict',
        (value: Uint8Array) => Buffer.from(value),
        (value) => value,
        toBinary(predict.input, predictRequest({ name: 'slow' })),
        resolve,
      ),
    );
    await stuck.started;

    const closing = other.close();
    other.cut();

    await closing;
    expect(await failed).toMatchObject({ code: expect.any(Number) });
    stuck.finish();
    own.close();
  });

  test('tells the signatures', async () => {
    const { message } = await ask(
      getModelMetadata,
      create(getModelMetadata.input, { modelSpec: { name: 'half_plus_two' }, metadataField: ['signature_def'] }),
    );

    const signatures = anyUnpack(message.metadata['signature_def']!, SignatureDefMapSchema);
    expect(message.metadata['signature_def']?.typeUrl).toBe('type.googleapis.com/tensorflow.serving.SignatureDefMap');
    expect(signatures?.signatureDef['serving_default']).toMatchObject({
      inputs: { x: { encoding: { case: 'name', value: 'x' }, dtype: 1, tensorShape: { dim: [{ size: -1n }] } } },
      methodName: 'tensorflow/serving/predict',
    });
  });

  test.each([
    [[], 'GetModelMetadataRequest must specify at least one metadata_field'],
    [['other'], 'Metadata field other is not supported'],
  ])('refuses the metadata fields %j', async (metadataField, details) => {
    const request = create(getModelMetadata.input, { modelSpec: { name: 'half_plus_two' }, metadataField });

    await expect(ask(getModelMetadata, request)).rejects.toMatchObject({ code: status.INVALID_ARGUMENT, details });
  });

  test("methods that are not served are UNIMPLEMENTED, TensorFlow's profiler among them", async () => {
    const profile = callBytes('/tensorflow.ProfilerService/Profile', new Uint8Array(), predict.output);

    await expect(profile).rejects.toMatchObject({ code: status.UNIMPLEMENTED });
  });

  const recorded = sharedData('tfs-protos/predict_request_tensor_content.pb');
  test.runIf(recorded)('answers recorded messages of the official client', async () => {
    for (const name of [
      'predict_request_float_val.pb',
      'predict_request_tensor_content.pb',
      'predict_request_filter_y.pb',
      'predict_request_version_123.pb',
      'predict_request_label_stable.pb',
    ]) {
      const bytes = readFileSync(sharedData(`tfs-protos/${name}`)!);

      const { message } = await callBytes('/tensorflow.serving.PredictionService/Predict', bytes, predict.output);

      expect([name, decodeTensorProto(message.outputs['y']!, 'y')]).toEqual([
        name,
        createTensor('float32', [3, 1], new Float32Array([2.5, 3, 4.5])),
      ]);
    }
  });

  test.runIf(recorded).each([
    ['predict_request_filter_bad.pb', status.INVALID_ARGUMENT],
    ['predict_request_wrong_dtype.pb', status.INVALID_ARGUMENT],
    ['predict_request_unknown_model.pb', status.NOT_FOUND],
    ['predict_request_no_model_spec_name.pb', status.INVALID_ARGUMENT],
  ])('refuses the recorded %s', async (name, code) => {
    const bytes = readFileSync(sharedData(`tfs-protos/${name}`)!);

    await expect(callBytes('/tensorflow.serving.PredictionService/Predict', bytes, PredictRequestSchema)).rejects.toMatchObject({ code });
  });
});

describe('examples', () => {
  const { classify, regress, multiInference } = PredictionService.method;
  const example = (x?: number) => ({
    features: { feature: x === undefined ? {} : { x: { kind: { case: 'floatList' as const, value: { value: [x] } } } } },
  });
  const list = (...values: number[]) => ({ kind: { case: 'exampleList' as const, value: { examples: values.map(example) } } });
  const modelSpec = (signatureName = '') => ({ name: 'scorer', signatureName });

  test('are classified, with labels where there are some', async () => {
    const plain = await ask(classify, create(classify.input, { modelSpec: modelSpec(), input: list(2, 5) }));
    const labelled = await ask(classify, create(classify.input, { modelSpec: modelSpec('labelled'), input: list(2) }));

    expect(plain.message).toMatchObject({
      modelSpec: { name: 'scorer', signatureName: 'serving_default', versionChoice: { value: { value: 7n } } },
      result: { classifications: [{ classes: [{ label: '', score: 3 }, { score: -3 }] }, { classes: [{ score: 4.5 }, { score: -4.5 }] }] },
    });
    expect(labelled.message.result?.classifications).toMatchObject([{ classes: [{ label: 'high 3' }, { label: 'low 3' }] }]);
    expect(plain.trailer.get('nearfar-model-version')).toEqual(['7']);
  });

  test('are regressed, those without a feature with that of their context', async () => {
    const value = { examples: [example(), example(5)], context: example(2) };
    const input = { kind: { case: 'exampleListWithContext' as const, value } };

    const { message } = await ask(regress, create(regress.input, { modelSpec: modelSpec('regress'), input }));

    expect(message.result?.regressions).toMatchObject([{ value: 3 }, { value: 4.5 }]);
  });

  const task = (method: string, signatureName: string, name = 'scorer') => ({
    modelSpec: { name, signatureName },
    methodName: `tensorflow/serving/${method}`,
  });
  const askAll = (tasks: readonly ReturnType<typeof task>[], input = list(2)) =>
    ask(multiInference, create(multiInference.input, { tasks: [...tasks], input }));

  test.each(['scorer', 'partial'])('are asked about by several tasks, answered in their order, by %s', async (name) => {
    const { message } = await askAll([task('regress', 'regress', name), task('classify', '', name), task('classify', 'labelled', name)]);

    expect(message.results).toMatchObject([
      { modelSpec: { signatureName: 'regress' }, result: { case: 'regressionResult', value: { regressions: [{ value: 3 }] } } },
      { modelSpec: { signatureName: 'serving_default' }, result: { value: { classifications: [{ classes: [{ label: '' }, {}] }] } } },
      { modelSpec: { signatureName: 'labelled' }, result: { value: { classifications: [{ classes: [{ label: 'high 3' }, {}] }] } } },
    ]);
    expect(store.lent).toBe(0);
  });

  test.each([
    ['no task', [], status.INVALID_ARGUMENT, 'Missing ModelSpec'],
    ['two models', [task('regress', 'regress'), task('regress', 'x', 'half_plus_two')], status.INVALID_ARGUMENT, /same model name/],
    ['one signature twice', [task('classify', ''), task('classify', 'serving_default')], status.INVALID_ARGUMENT, /^Duplicate evaluation/],
    ['another method', [task('predict', 'regress')], status.UNIMPLEMENTED, 'Unsupported signature method_name: tensorflow/serving/predict'],
    ['an unknown signature', [task('regress', 'no')], status.INVALID_ARGUMENT, 'Requested signature not found in model graph: no'],
    [
      'two inputs of the graph',
      [task('classify', ''), task('regress', 'elsewhere')],
      status.INVALID_ARGUMENT,
      'Input tensor must be the same for all Signatures.',
    ],
    ['an unfit signature', [task('classify', ''), task('regress', 'labelled')], status.INVALID_ARGUMENT, 'Expected one output Tensor.'],
  ])('are refused to %s', async (_, tasks, code, details) => {
    await expect(askAll(tasks)).rejects.toMatchObject({
      code,
      details: typeof details === 'string' ? details : expect.stringMatching(details),
    });
  });

  test('must be there, and the signature too', async () => {
    const none = ask(classify, create(classify.input, { modelSpec: modelSpec(), input: list() }));
    const unset = ask(regress, create(regress.input, { modelSpec: modelSpec('regress') }));
    const unknown = ask(regress, create(regress.input, { modelSpec: modelSpec('no'), input: list(1) }));

    await expect(none).rejects.toMatchObject({ code: status.INVALID_ARGUMENT, details: 'Input is empty.' });
    await expect(unset).rejects.toMatchObject({ code: status.INVALID_ARGUMENT, details: 'Input is empty.' });
    await expect(unknown).rejects.toMatchObject({ code: status.INVALID_ARGUMENT, details: 'No signature was found with the name: no' });
  });
});

describe('ModelService', () => {
  const { getModelStatus } = ModelService.method;

  test('tells the state of all versions, newest first', async () => {
    const { message } = await ask(getModelStatus, create(getModelStatus.input, { modelSpec: { name: 'half_plus_two' } }));

    expect(message.modelVersionStatus).toMatchObject([
      { version: 124n, state: 30, status: { errorCode: 0, errorMessage: '' } },
      { version: 123n, state: 30 },
    ]);
  });

  test('does not know a missing model', async () => {
    const request = create(getModelStatus.input, { modelSpec: { name: 'none' } });

    await expect(ask(getModelStatus, request)).rejects.toMatchObject({
      code: status.NOT_FOUND,
      details: 'Could not find any versions of model none',
    });
  });
});

describe('GRPCInferenceService', () => {
  const { modelInfer, modelMetadata, modelReady, serverLive, serverReady, serverMetadata } = GRPCInferenceService.method;
  const input = { name: 'x', datatype: 'FP32', shape: [3n, 1n] };

  test('infers from raw and from typed contents', async () => {
    const raw = create(modelInfer.input, {
      modelName: 'half_plus_two',
      id: '7',
      inputs: [input],
      rawInputContents: [new Uint8Array(x.data.slice().buffer as ArrayBuffer)],
    });
    const typed = create(modelInfer.input, { modelName: 'half_plus_two', inputs: [{ ...input, contents: { fp32Contents: [1, 2, 5] } }] });

    for (const request of [raw, typed]) {
      const { message } = await ask(modelInfer, request);
      expect(message).toMatchObject({
        modelName: 'half_plus_two',
        modelVersion: '124',
        id: request.id,
        outputs: [{ name: 'y', datatype: 'FP32', shape: [3n, 1n] }],
      });
      expect(tensorFromBytes('y', 'FP32', [3, 1], message.rawOutputContents[0]!).data).toEqual(new Float32Array([2.5, 3, 4.5]));
    }
  });

  test('infers from large contents, raw as well as typed beside strings', async () => {
    const values = Array.from({ length: 30_000 }, (_, index) => index);
    const shape = [30_000n];
    const raw = create(modelInfer.input, {
      modelName: 'half_plus_two',
      inputs: [{ ...input, shape }],
      rawInputContents: [new Uint8Array(Float32Array.from(values).buffer)],
    });
    const typed = create(modelInfer.input, {
      modelName: 'half_plus_two',
      parameters: { signature_name: { parameterChoice: { case: 'stringParam', value: 'many' } } },
      inputs: [
        { ...input, shape, contents: { fp32Contents: values } },
        { name: 's_bytes', datatype: 'BYTES', shape: [1n], contents: { bytesContents: [Uint8Array.of(7, 8)] } },
        { name: 'n', datatype: 'INT64', shape: [1n], contents: { int64Contents: [5n] } },
      ],
    });

    for (const request of [raw, raw, typed]) {
      const { outputs, rawOutputContents } = (await ask(modelInfer, request)).message;
      const read = (name: string) => {
        const index = outputs.findIndex((output) => output.name === name);
        return tensorFromBytes(name, outputs[index]!.datatype, outputs[index]!.shape.map(Number), rawOutputContents[index]!).data;
      };
      expect(read('y')).toEqual(Float32Array.from(values, (value) => value / 2 + 2));
      if (request !== typed) continue;
      expect(read('s_bytes')).toEqual([Buffer.of(7, 8)]);
      expect(read('n')).toEqual(BigInt64Array.of(5n));
    }
  });

  test('tells of the server and its models', async () => {
    expect((await ask(serverLive, create(serverLive.input))).message.live).toBe(true);
    expect((await ask(serverReady, create(serverReady.input))).message.ready).toBe(true);
    expect((await ask(serverMetadata, create(serverMetadata.input))).message).toMatchObject({ name: 'nearfar', version: '9.9.9' });
    expect((await ask(modelReady, create(modelReady.input, { name: 'half_plus_two', version: '123' }))).message.ready).toBe(true);
    expect((await ask(modelReady, create(modelReady.input, { name: 'none' }))).message.ready).toBe(false);
    expect((await ask(modelMetadata, create(modelMetadata.input, { name: 'half_plus_two' }))).message).toMatchObject({
      versions: ['123', '124'],
      inputs: [{ name: 'x', datatype: 'FP32', shape: [-1n] }],
    });
  });
});

describe('grpc.health.v1', () => {
  const { check, watch } = Health.method;
  const health = async (service: string) => (await ask(check, create(check.input, { service }))).message.status;

  test('says whether the models, or one of them, can answer', async () => {
    expect([await health(''), await health('PredictionService'), await health('tensorflow.serving.ModelService')]).toEqual([1, 1, 1]);
    expect(await health('half_plus_two')).toBe(1);
    store.isServing = false;
    expect([await health(''), await health('half_plus_two')]).toEqual([2, 2]);
    store.isServing = true;
    await expect(health('other')).rejects.toMatchObject({ code: status.NOT_FOUND });
  });

  test('is watched: every change is told once, and the end of the server ends it', async () => {
    const own = createStandInStore([half123]);
    const server = createGrpcServer(createStandInContext(own));
    const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
    const watcher = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
    const stream = (service: string) =>
      watcher.makeServerStreamRequest(
        `/${Health.typeName}/${watch.name}`,
        (message: MessageShape<typeof watch.input>) => Buffer.from(toBinary(watch.input, message)),
        (bytes) => fromBinary(watch.output, bytes),
        create(watch.input, { service }),
      );
    const told: number[] = [];
    const call = stream('half_plus_two');
    const ended = new Promise<ServiceError>((resolve) => call.on('error', resolve));
    call.on('data', (message) => told.push(message.status));
    const unknown = stream('other');
    unknown.on('error', () => undefined);

    const [first] = await once(unknown, 'data');
    await expect.poll(() => told).toEqual([1]);
    own.isServing = true;
    own.isServing = false;
    await expect.poll(() => told).toEqual([1, 2]);
    await server.close();

    expect(first.status).toBe(3);
    expect(await ended).toMatchObject({ code: status.UNAVAILABLE });
    watcher.close();
  });
});

describe.each(['v1', 'v1alpha'])('server reflection %s', (version) => {
  const method = ServerReflection.method.serverReflectionInfo;

  async function reflect(...requests: MessageInitShape<typeof method.input>[]) {
    const call = client.makeBidiStreamRequest(
      `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`,
      (message: MessageShape<typeof method.input>) => Buffer.from(toBinary(method.input, message)),
      (bytes) => fromBinary(method.output, bytes),
    );
    for (const request of requests) call.write(create(method.input, request));
    call.end();
    const answers = [];
    for await (const { messageResponse } of call) answers.push(messageResponse);
    return answers;
  }

  test('lists the services', async () => {
    const [answer] = await reflect({ messageRequest: { case: 'listServices', value: '*' } });

    expect(answer.value.service.map(({ name }: { name: string }) => name)).toEqual([
      'tensorflow.serving.PredictionService',
      'tensorflow.serving.ModelService',
      'inference.GRPCInferenceService',
      'grpc.health.v1.Health',
      'grpc.reflection.v1.ServerReflection',
      'grpc.reflection.v1alpha.ServerReflection',
    ]);
  });

  test('describes a symbol and a file with all that they import', async () => {
    const asked = ['tensorflow.serving.PredictionService', 'tensorflow.serving.PredictionService.Classify', 'tensorflow.Feature'];
    const bySymbol = asked.map((value) => ({ messageRequest: { case: 'fileContainingSymbol' as const, value } }));

    const answers = await reflect(...bySymbol, {
      messageRequest: { case: 'fileByFilename', value: 'tensorflow/core/example/feature.proto' },
    });

    const files = answers.map(({ value }) =>
      value.fileDescriptorProto.map((bytes: Uint8Array) => fromBinary(FileDescriptorProtoSchema, bytes).name),
    );
    expect(files[0][0]).toBe('tensorflow_serving/apis/prediction_service.proto');
    expect(files[0]).toContain('google/protobuf/any.proto');
    expect(files[1]).toEqual(files[0]);
    expect(files.slice(2)).toEqual(Array(2).fill(['tensorflow/core/example/feature.proto']));
    // What it gives is enough to build the service from.
    const set = create(FileDescriptorSetSchema, {
      file: answers[0].value.fileDescriptorProto.map((bytes: Uint8Array) => fromBinary(FileDescriptorProtoSchema, bytes)).reverse(),
    });
    expect(createFileRegistry(set).getService('tensorflow.serving.PredictionService')?.methods).toHaveLength(5);
  });

  test('says what it does not know', async () => {
    const answers = await reflect(
      { messageRequest: { case: 'fileContainingSymbol', value: 'no.Such' } },
      { messageRequest: { case: 'fileContainingExtension', value: { containingType: 'x', extensionNumber: 1 } } },
      { messageRequest: { case: 'allExtensionNumbersOfType', value: 'tensorflow.TensorProto' } },
    );

    expect(answers).toMatchObject([
      { case: 'errorResponse', value: { errorCode: status.NOT_FOUND, errorMessage: 'symbol no.Such is not known' } },
      { case: 'errorResponse', value: { errorCode: status.NOT_FOUND } },
      { case: 'allExtensionNumbersResponse', value: { baseTypeName: 'tensorflow.TensorProto', extensionNumber: [] } },
    ]);
  });
});

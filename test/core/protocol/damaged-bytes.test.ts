import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  createTensor,
  decodeExample,
  decodeInferRequest,
  decodeTensorProto,
  decodeWarmupRecord,
  encodeExample,
  encodeInferRequest,
  encodeTensorProto,
  encodeTfRecord,
  NearfarError,
  PredictionLogSchema,
  readTfRecords,
  tensorFromBytes,
} from '../../../src/core/index.ts';
import { TensorProtoSchema } from '../../../src/core/protocol/gen/tensorflow/core/framework/tensor_pb.ts';
import { mutations } from '../../support/mutations.ts';

const utf8 = (text: string) => new TextEncoder().encode(text);
const strings = createTensor('string', [2, 1], [utf8('a'), utf8('bc')]);
const floats = createTensor('float32', [3], new Float32Array([1, 2, 5]));
const example = encodeExample(
  new Map([
    ['x', { kind: 'float', values: [3, 4] }],
    ['n', { kind: 'int64', values: [-1n, 2n ** 62n] }],
    ['s', { kind: 'bytes', values: [utf8('a'), utf8('')] }],
  ]),
);
const log = toBinary(
  PredictionLogSchema,
  create(PredictionLogSchema, {
    logType: {
      case: 'predictLog',
      value: { request: { modelSpec: { name: 'm' }, inputs: { x: encodeTensorProto(floats), s: encodeTensorProto(strings) } } },
    },
  }),
);
const records = new Uint8Array([...encodeTfRecord(log), ...encodeTfRecord(example)]);
const content = toBinary(TensorProtoSchema, encodeTensorProto(floats, { asContent: true }));
const values = toBinary(TensorProtoSchema, encodeTensorProto(strings));
const infer = encodeInferRequest({ inputs: { x: floats, s: strings } });
const bytesOfStrings = Uint8Array.from([1, 0, 0, 0, 97, 2, 0, 0, 0, 98, 99]);

/** A message that is none is told by the library; what is in it, by us. */
function decodeProto(bytes: Uint8Array): void {
  let proto: ReturnType<typeof encodeTensorProto>;
  try {
    proto = fromBinary(TensorProtoSchema, bytes);
  } catch {
    return;
  }
  decodeTensorProto(proto, 'x');
}

const parsers: readonly [string, Uint8Array, (bytes: Uint8Array) => unknown][] = [
  ['a tf.Example', example, decodeExample],
  ['a warm-up record', log, decodeWarmupRecord],
  ['a TFRecord file', records, readTfRecords],
  ['a TensorProto with its content', content, decodeProto],
  ['a TensorProto with its values', values, decodeProto],
  ['a request with binary tensors', infer.body, (bytes) => decodeInferRequest(bytes, infer.headerLength)],
  ['strings with their lengths', bytesOfStrings, (bytes) => tensorFromBytes('s', 'BYTES', [2], bytes)],
];

test.each(parsers)('%s that is damaged is read or refused with a typed error', (_, good, parse) => {
  parse(good.slice());

  fc.assert(
    fc.property(mutations, (mutate) => {
      try {
        parse(mutate(good.slice()));
      } catch (error) {
        expect(error).toBeInstanceOf(NearfarError);
      }
    }),
    { numRuns: 500 },
  );
});

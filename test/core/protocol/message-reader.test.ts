import { create, type DescMessage, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  createTensor,
  encodeTensorProto,
  PredictRequestSchema,
  readModelInferRequest,
  readPredictRequest,
  tensorBytes,
} from '../../../src/core/index.ts';
import { ModelInferRequestSchema } from '../../../src/core/protocol/gen/inference/grpc_service_pb.ts';
import { mutations } from '../../support/mutations.ts';

const floats = createTensor('float32', [2, 1], Float32Array.of(1, -2.5));

const predictRequests: readonly [string, boolean, MessageInitShape<typeof PredictRequestSchema>][] = [
  ['nothing', true, {}],
  ['a tensor as content', true, { modelSpec: { name: 'm' }, inputs: { x: encodeTensorProto(floats, { asContent: true }) } }],
  [
    'packed floats, a version, a signature and outputs',
    true,
    {
      modelSpec: { name: 'm', versionChoice: { case: 'version', value: { value: 7n } }, signatureName: 's' },
      inputs: { x: encodeTensorProto(floats), y: encodeTensorProto(floats) },
      outputFilter: ['a', 'b'],
    },
  ],
  ['a label', false, { modelSpec: { name: 'm', versionChoice: { case: 'versionLabel', value: 'stable' } } }],
  [
    'a version as large as a time in nanoseconds',
    false,
    { modelSpec: { versionChoice: { case: 'version', value: { value: 2n ** 60n } } } },
  ],
  ['a name beyond ASCII', false, { modelSpec: { name: 'modèle' } }],
  ['other typed values', false, { inputs: { n: encodeTensorProto(createTensor('int64', [1], BigInt64Array.of(-1n))) } }],
  ['an unknown rank', false, { inputs: { n: { dtype: 1, tensorShape: { unknownRank: true } } } }],
  ['a negative size', false, { inputs: { n: { dtype: 1, tensorShape: { dim: [{ size: -1n }] } } } }],
];

const inferRequests: readonly [string, boolean, MessageInitShape<typeof ModelInferRequestSchema>][] = [
  [
    'raw contents',
    true,
    {
      modelName: 'm',
      modelVersion: '3',
      id: 'one',
      inputs: [{ name: 'x', datatype: 'FP32', shape: [2n, 300n] }],
      outputs: [{ name: 'y' }],
      rawInputContents: [tensorBytes('x', floats)],
    },
  ],
  ['typed contents', false, { inputs: [{ name: 'x', datatype: 'FP32', shape: [1n], contents: { fp32Contents: [1] } }] }],
  ['parameters', false, { modelName: 'm', parameters: { priority: { parameterChoice: { case: 'int64Param', value: 1n } } } }],
];

describe.each([
  ['PredictRequest', PredictRequestSchema, readPredictRequest, predictRequests],
  ['ModelInferRequest', ModelInferRequestSchema, readModelInferRequest, inferRequests],
] as readonly [string, DescMessage, (bytes: Uint8Array) => unknown, readonly [string, boolean, object][]][])(
  '%s',
  (_, schema, read, requests) => {
    const bytesOf = (init: object) => toBinary(schema, create(schema, init as MessageInitShape<DescMessage>));

    test.each(requests)('with %s is read as by the general reader, or left to it', (_name, isUsual, init) => {
      const bytes = bytesOf(init);

      const message = read(bytes);

      expect(message !== undefined).toBe(isUsual);
      if (isUsual) expect(message).toEqual(fromBinary(schema, bytes));
    });

    test.each(requests)('with %s and damage is the same message, or left', (_name, _isUsual, init) => {
      fc.assert(
        fc.property(mutations, (mutate) => {
          const bytes = mutate(bytesOf(init));
          const message = read(bytes);
          // A message that the general reader refuses throws here.
          if (message !== undefined) expect(message).toEqual(fromBinary(schema, bytes));
        }),
      );
    });
  },
);

test('two specs of one request are left to the general reader, which merges them', () => {
  const spec = (init: MessageInitShape<typeof PredictRequestSchema>['modelSpec']) => bytesOfPredict({ modelSpec: init });

  expect(readPredictRequest(Uint8Array.of(...spec({ name: 'm' }), ...spec({ signatureName: 's' })))).toBeUndefined();
});

function bytesOfPredict(init: MessageInitShape<typeof PredictRequestSchema>): Uint8Array {
  return toBinary(PredictRequestSchema, create(PredictRequestSchema, init));
}

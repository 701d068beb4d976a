import { readFileSync } from 'node:fs';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createTensor, dataTypeOf, decodeTensorProto, encodeTensorProto, encodeTensorProtoToWrite } from '../../../src/core/index.ts';
import { TensorProtoSchema } from '../../../src/core/protocol/gen/tensorflow/core/framework/tensor_pb.ts';
import { GetModelMetadataRequestSchema } from '../../../src/core/protocol/gen/tensorflow_serving/apis/get_model_metadata_pb.ts';
import { PredictRequestSchema, PredictResponseSchema } from '../../../src/core/protocol/gen/tensorflow_serving/apis/predict_pb.ts';
import { sharedData } from '../../support/shared-data.ts';
import { arbitraryTensor } from './support/arbitrary-tensor.ts';

const bytes = (text: string) => new TextEncoder().encode(text);

describe('TensorProto', () => {
  test('is read back to the same tensor, in both encodings', () => {
    fc.assert(
      fc.property(arbitraryTensor(), fc.boolean(), (tensor, asContent) => {
        const message = toBinary(TensorProtoSchema, encodeTensorProto(tensor, { asContent }));

        const decoded = decodeTensorProto(fromBinary(TensorProtoSchema, message), 'x');

        expect(decoded.dtype).toBe(tensor.dtype);
        expect(decoded.shape).toEqual(tensor.shape);
        expect(decoded.data).toEqual(tensor.data);
      }),
    );
  });

  test('is the same message where it is only made to be written', () => {
    fc.assert(
      fc.property(arbitraryTensor(), (tensor) => {
        const written = toBinary(TensorProtoSchema, encodeTensorProtoToWrite(tensor));

        expect(fromBinary(TensorProtoSchema, written)).toEqual(
          fromBinary(TensorProtoSchema, toBinary(TensorProtoSchema, encodeTensorProto(tensor))),
        );
      }),
    );
  });

  test('repeats the last value, and is zero where there is none, as TensorFlow does', () => {
    const shape = { dim: [{ size: 4n }] };
    const proto = (fields: object) => create(TensorProtoSchema, { dtype: dataTypeOf('int32'), tensorShape: shape, ...fields });

    expect(decodeTensorProto(proto({ intVal: [1, 2] }), 'x').data).toEqual(new Int32Array([1, 2, 2, 2]));
    expect(decodeTensorProto(proto({}), 'x').data).toEqual(new Int32Array(4));
    expect(decodeTensorProto(proto({ intVal: [1, 2, 3, 4, 5] }), 'x').data).toEqual(new Int32Array([1, 2, 3, 4]));
    expect(decodeTensorProto(proto({ dtype: dataTypeOf('complex64'), scomplexVal: [1, 2] }), 'x').data).toEqual(
      new Float32Array([1, 2, 1, 2, 1, 2, 1, 2]),
    );
  });

  test.each<[string, MessageInitShape<typeof TensorProtoSchema>]>([
    ['a length that is not the shape', { dtype: 1, tensorShape: { dim: [{ size: 2n }] }, tensorContent: new Uint8Array(4) }],
    ['a negative dimension', { dtype: 1, tensorShape: { dim: [{ size: -1n }] } }],
    ['an unknown rank', { dtype: 1, tensorShape: { unknownRank: true } }],
    ['a dtype no model takes', { dtype: 20, tensorShape: {} }],
    ['a small message of a huge tensor', { dtype: 1, tensorShape: { dim: [{ size: 2n ** 20n }, { size: 2n ** 20n }] }, floatVal: [1] }],
  ])('refuses %s', (_, init) => {
    const proto = create(TensorProtoSchema, init);

    expect(() => decodeTensorProto(proto, 'x')).toThrow(
      expect.objectContaining({ code: 'invalid-argument', message: 'tensor parsing error: x' }),
    );
  });
});

describe('messages made with the classes of tensorflow-serving-api', () => {
  const read = (name: string) => {
    const path = sharedData(`tfs-protos/${name}`);
    return path === undefined ? undefined : new Uint8Array(readFileSync(path));
  };
  const floats = createTensor('float32', [3, 1], new Float32Array([1, 2, 5]));

  test.runIf(read('predict_request_float_val.pb'))('predict requests carry the same tensor in both encodings', () => {
    for (const name of ['predict_request_float_val.pb', 'predict_request_tensor_content.pb']) {
      const request = fromBinary(PredictRequestSchema, read(name)!);

      expect(Object.entries(request.inputs).map(([alias, proto]) => [alias, decodeTensorProto(proto, alias)])).toEqual([['x', floats]]);
    }
  });

  test.runIf(read('predict_request_many_dtypes.pb'))('every dtype arrives', () => {
    const request = fromBinary(PredictRequestSchema, read('predict_request_many_dtypes.pb')!);

    const tensors = Object.fromEntries(Object.entries(request.inputs).map(([alias, proto]) => [alias, decodeTensorProto(proto, alias)]));

    expect(tensors).toEqual({
      u8: createTensor('uint8', [2], new Uint8Array([0, 255])),
      s: createTensor('string', [3], [new Uint8Array([0, 255, ...bytes(' bytes')]), new Uint8Array(), bytes('hé')]),
      scalar: createTensor('float32', [], new Float32Array([3.5])),
      i8: createTensor('int8', [1, 2], new Int8Array([-128, 127])),
      i64: createTensor('int64', [3], new BigInt64Array([-(2n ** 63n), 2n ** 63n - 1n, 2n ** 53n + 1n])),
      f64: createTensor('float64', [4], new Float64Array([1e-300, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN])),
      empty: createTensor('float32', [0, 3], new Float32Array()),
      b: createTensor('bool', [2], new Uint8Array([1, 0])),
    });
  });

  test.runIf(read('predict_request_half.pb'))('half and a repeated last value arrive', () => {
    const half = fromBinary(PredictRequestSchema, read('predict_request_half.pb')!);
    const repeated = fromBinary(PredictRequestSchema, read('predict_request_float_val_repeated_last.pb')!);

    expect(Object.entries(half.inputs).map(([alias, proto]) => decodeTensorProto(proto, alias).dtype)).toEqual(['float16']);
    expect(decodeTensorProto(repeated.inputs['x']!, 'x')).toEqual(createTensor('float32', [4, 1], new Float32Array([7, 7, 7, 7])));
  });

  test.runIf(read('predict_response.pb'))('an answer encodes to the very bytes of theirs', () => {
    const theirs = read('predict_response.pb')!;
    const response = fromBinary(PredictResponseSchema, theirs);
    const outputs = Object.entries(response.outputs).map(([alias, proto]) => [
      alias,
      encodeTensorProto(decodeTensorProto(proto, alias), { asContent: true }),
    ]);

    const ours = toBinary(PredictResponseSchema, create(PredictResponseSchema, { ...response, outputs: Object.fromEntries(outputs) }));

    expect(ours).toEqual(theirs);
  });

  test.runIf(read('predict_request_label_stable.pb'))('model specs arrive', () => {
    const specOf = (name: string) => fromBinary(PredictRequestSchema, read(name)!).modelSpec;

    expect(specOf('predict_request_label_stable.pb')?.versionChoice).toEqual({ case: 'versionLabel', value: 'stable' });
    expect(specOf('predict_request_version_123.pb')?.versionChoice).toMatchObject({ case: 'version', value: { value: 123n } });
    expect(fromBinary(PredictRequestSchema, read('predict_request_filter_y.pb')!).outputFilter).toEqual(['y']);
    expect(fromBinary(GetModelMetadataRequestSchema, read('get_model_metadata_request.pb')!).metadataField).toEqual(['signature_def']);
  });
});

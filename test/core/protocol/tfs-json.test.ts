import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  createTensor,
  type DType,
  decodePredictJson,
  encodePredictJson,
  type PredictFormat,
  type Signature,
  type TensorMap,
} from '../../../src/core/index.ts';
import { arbitraryTensor } from './support/arbitrary-tensor.ts';

const bytes = (text: string) => new TextEncoder().encode(text);

function signatureOf(inputs: Signature['inputs']): Signature {
  return { method: 'predict', inputs, outputs: {} };
}

const listOf = (dtype: DType) => ({ dtype, shape: [-1] });
const float = listOf('float32');
const decode = (text: string, inputs: Signature['inputs'] = { x: float }) => decodePredictJson(bytes(text), () => signatureOf(inputs));
const floats = (shape: number[], ...values: number[]) => createTensor('float32', shape, new Float32Array(values));

describe('decodePredictJson', () => {
  test('reads rows of plain values, with the signature they name', () => {
    const request = decodePredictJson(bytes('{"instances": [1, 2.5, -3e0], "signature_name": "other"}'), (name) => {
      expect(name).toBe('other');
      return signatureOf({ x: float });
    });

    expect(request).toEqual({ signatureName: 'other', format: 'row', inputs: { x: floats([3], 1, 2.5, -3) } });
  });

  test('reads rows of objects for several inputs', () => {
    const inputs = { a: float, b: listOf('string') };

    const request = decode('{"instances": [{"a": [1, 2], "b": "x"}, {"b": {"b64": "/w=="}, "a": [3, 4]}]}', inputs);

    expect(request.inputs).toEqual({
      a: floats([2, 2], 1, 2, 3, 4),
      b: createTensor('string', [2], [bytes('x'), new Uint8Array([255])]),
    });
  });

  test.each([
    ['{"inputs": 7}', floats([], 7)],
    ['{"inputs": [[1, 2], [3, 4]]}', floats([2, 2], 1, 2, 3, 4)],
    ['{"inputs": {"x": [], "unknown": 1}}', floats([0])],
    ['{"inputs": [NaN, -Infinity, 1e39, -1e-50]}', floats([4], Number.NaN, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, -0)],
  ])('reads columns %s', (text, x) => {
    expect(decode(text)).toEqual({ signatureName: '', format: 'columnar', inputs: { x } });
  });

  test('keeps int64 beyond 2^53', () => {
    const { inputs } = decode('{"inputs": [9223372036854775807, -9223372036854775808]}', { x: { dtype: 'int64', shape: [-1] } });

    expect(inputs).toEqual({ x: createTensor('int64', [2], new BigInt64Array([2n ** 63n - 1n, -(2n ** 63n)])) });
  });

  test.each([
    ['', 'JSON Parse error: The document is empty'],
    ['[1]', 'JSON Value: [\n    1\n] Is not object'],
    ['{}', "Missing 'inputs' or 'instances' key"],
    ['{"instances": []}', `JSON Value: {\n    "instances": []\n} No values in 'instances' array`],
    ['{"instances": 1}', `JSON Value: {\n    "instances": 1\n} Excepting 'instances' to be an list/array`],
    [
      '{"instances": [1], "inputs": 1}',
      'JSON Value: {\n    "instances": [\n        1\n    ],\n    "inputs": 1\n} Not formatted correctly expecting only one of \'inputs\' or \'instances\' keys to exist ',
    ],
    [
      '{"signature_name": 5, "instances": [1]}',
      'JSON Value: {\n    "signature_name": 5,\n    "instances": [\n        1\n    ]\n} not formatted correctly. \'signature_name\' key must be a string value.',
    ],
    [
      '{"instances": ["a"]}',
      'Failed to process element: 0 of \'instances\' list. Error: INVALID_ARGUMENT: JSON Value: "a" Type: String is not of expected type: float',
    ],
    [
      '{"instances": [[1, 2], [3]]}',
      "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: 2 but got: 1",
    ],
    [
      '{"instances": [[[1, 2]], [[3], [4]]]}',
      "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting shape [1,2] but got: [2,1]",
    ],
    ['{"instances": [{"x": 1}, 2]}', 'Expecting object but got list at item 1 of input list'],
    ['{"instances": [2, {"x": 1}]}', 'Expecting value/list but got object at item 1 of input list'],
    [
      '{"instances": [{"y": 1}]}',
      "Failed to process element: 0 key: y of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does not have named input: y",
    ],
    ['{"inputs": {"y": 1}}', "Missing named input: x in 'inputs' object."],
    ['{"inputs": [[1, 2], [3]]}', 'Encountered list at unexpected size: 1 at level: 1 expected size: 2'],
    ['{"inputs": [1, [2]]}', 'Encountered list at unexpected level: 1 expected < 1'],
    ['{"inputs": [[1], 2]}', 'JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2'],
    ['{"inputs": {"b64": "AA=="}}', 'JSON Value: {\n    "b64": "AA=="\n} Type: Object is not of expected type: float'],
  ])('refuses %j with the text of TensorFlow Serving', (text, message) => {
    expect(() => decode(text)).toThrow(expect.objectContaining({ message }));
  });

  test.each([
    ['int32', '1.0'],
    ['int32', '2147483648'],
    ['int8', '128'],
    ['uint8', '-1'],
    ['int64', '9223372036854775808'],
    ['uint64', '-1'],
    ['bool', '1'],
    ['float32', 'true'],
    ['string', '1'],
  ] as const)('refuses for %s the value %s', (dtype, value) => {
    expect(() => decode(`{"inputs": ${value}}`, { x: { dtype, shape: [] } })).toThrow(expect.objectContaining({ code: 'dtype-mismatch' }));
  });

  test('answers 501 for a dtype without JSON form by columns, 400 by rows', () => {
    const half = { x: listOf('float16') };

    expect(() => decode('{"inputs": [1]}', half)).toThrow(expect.objectContaining({ code: 'unsupported' }));
    expect(() => decode('{"instances": [1]}', half)).toThrow(expect.objectContaining({ code: 'invalid-argument' }));
  });

  test('does not trust a ragged list to be as large as its first rows promise', () => {
    const ragged = `{"inputs": [${Array.from({ length: 2000 }, (_, i) => (i === 0 ? `[${'1,'.repeat(1999)}1]` : '[]')).join(',')}]}`;

    expect(() => decode(ragged)).toThrow('Encountered list at unexpected size: 0 at level: 1 expected size: 2000');
  });

  test('names an input __proto__ without harm', () => {
    const inputs = JSON.parse('{"__proto__": {"dtype": "float32", "shape": [-1]}}');

    const request = decode('{"instances": [1, 2]}', inputs);

    expect(Object.keys(request.inputs)).toEqual(['__proto__']);
  });
});

describe('encodePredictJson', () => {
  test.each<[PredictFormat, TensorMap, string]>([
    ['row', { y: floats([3], 2.5, 3, 4.5) }, '{\n    "predictions": [2.5, 3.0, 4.5\n    ]\n}'],
    ['row', { y: floats([2, 2], 1, 2, 3, 4) }, '{\n    "predictions": [[1.0, 2.0], [3.0, 4.0]\n    ]\n}'],
    ['row', { y: floats([0, 2]) }, '{\n    "predictions": []\n}'],
    [
      'row',
      { a: floats([2, 1], 1, 2), b: floats([2], 3, 4) },
      '{\n    "predictions": [\n        {\n            "a": [1.0],\n            "b": 3.0\n        },\n        {\n            "a": [2.0],\n            "b": 4.0\n        }\n    ]\n}',
    ],
    [
      'columnar',
      { y: floats([2, 1], 1, 2) },
      '{\n    "outputs": [\n        [\n            1.0\n        ],\n        [\n            2.0\n        ]\n    ]\n}',
    ],
    ['columnar', { y: floats([], 1) }, '{\n    "outputs": 1.0\n}'],
    ['columnar', { a: floats([], 1), b: floats([0]) }, '{\n    "outputs": {\n        "a": 1.0,\n        "b": []\n    }\n}'],
    ['columnar', { y: floats([], Number.NaN) }, '{\n    "outputs": NaN\n}'],
    ['columnar', { y: createTensor('string', [], [bytes('ä"')]) }, '{\n    "outputs": "ä\\""\n}'],
    ['columnar', { y_bytes: createTensor('string', [], [new Uint8Array([255])]) }, '{\n    "outputs": {\n        "b64": "/w=="\n    }\n}'],
    ['columnar', { y: createTensor('int64', [], new BigInt64Array([2n ** 62n])) }, '{\n    "outputs": 4611686018427387904\n}'],
  ])('writes %s as TensorFlow Serving does', (format, outputs, text) => {
    expect(encodePredictJson(outputs, format)).toBe(text);
  });

  test('refuses rows of different number', () => {
    expect(() => encodePredictJson({ a: floats([2], 1, 2), b: floats([1], 3) }, 'row')).toThrow(
      'Tensor name: b has inconsistent batch size: 1 expecting: 2',
    );
    expect(() => encodePredictJson({ a: floats([], 1) }, 'row')).toThrow('Tensor name: a has no shape information ');
  });

  test('is read back to the same tensor, in both forms', () => {
    const written = arbitraryTensor([
      'float32',
      'float64',
      'int8',
      'int16',
      'int32',
      'int64',
      'uint8',
      'uint32',
      'uint64',
      'bool',
      'string',
    ]);
    fc.assert(
      fc.property(written, (tensor) => {
        // A list's inner dimensions are not seen through an empty one.
        fc.pre(!tensor.shape.includes(0));
        for (const format of ['row', 'columnar'] as const) {
          if (format === 'row' && tensor.shape.length === 0) continue;
          const text = encodePredictJson({ x_bytes: tensor }, format).replace('predictions', 'instances').replace('outputs', 'inputs');

          const { inputs } = decode(text, { x_bytes: { dtype: tensor.dtype, shape: [] } });

          expect(inputs).toEqual({ x_bytes: tensor });
        }
      }),
    );
  });
});

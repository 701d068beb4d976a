import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  createTensor,
  decodeInferRequest,
  decodeInferResponse,
  dtypes,
  encodeInferRequest,
  encodeInferResponse,
} from '../../../src/core/index.ts';
import { arbitraryTensor } from './support/arbitrary-tensor.ts';

const bytes = (text: string) => new TextEncoder().encode(text);
const real = dtypes.filter((dtype) => !dtype.startsWith('complex'));

describe('Open Inference Protocol', () => {
  test('a binary request is read back to the same tensors', () => {
    const tensors = fc.dictionary(fc.string(), arbitraryTensor(real), { maxKeys: 3 });
    fc.assert(
      fc.property(tensors, fc.option(fc.string(), { nil: undefined }), (inputs, id) => {
        const { body, headerLength } = encodeInferRequest({ id, inputs, signature: 'other', outputs: ['y'] });

        const request = decodeInferRequest(body, headerLength);

        expect(request).toMatchObject({ id, signature: 'other', isBinary: true, outputs: [{ name: 'y', isBinary: true }] });
        expect(request.inputs).toEqual({ ...inputs });
      }),
    );
  });

  test('an answer is read back to the same tensors, in JSON and in binary', () => {
    const jsonDtypes = real.filter((dtype) => dtype !== 'float16' && dtype !== 'bfloat16' && dtype !== 'string');
    fc.assert(
      fc.property(arbitraryTensor(jsonDtypes), arbitraryTensor(real), (plain, binary) => {
        const { body, headerLength } = encodeInferResponse(
          { modelName: 'm', modelVersion: '3', outputs: { plain, binary } },
          (name) => name === 'binary',
        );

        expect(decodeInferResponse(body, headerLength)).toEqual({
          modelName: 'm',
          modelVersion: '3',
          id: undefined,
          outputs: { plain, binary },
        });
      }),
    );
  });

  test('reads the JSON of a plain client, nested or flat', () => {
    const request = decodeInferRequest(
      bytes(
        `{"id": "a", "inputs": [
          {"name": "nested", "shape": [2, 2], "datatype": "FP32", "data": [[1, 2], [3, NaN]]},
          {"name": "flat", "shape": [2, 1], "datatype": "BYTES", "data": ["x", "é"]},
          {"name": "large", "shape": [1], "datatype": "INT64", "data": [9223372036854775807]}],
          "outputs": [{"name": "y"}, {"name": "z", "parameters": {"binary_data": true}}]}`,
      ),
      undefined,
    );

    expect(request).toEqual({
      id: 'a',
      signature: undefined,
      isBinary: false,
      inputs: {
        nested: createTensor('float32', [2, 2], new Float32Array([1, 2, 3, Number.NaN])),
        flat: createTensor('string', [2, 1], [bytes('x'), bytes('é')]),
        large: createTensor('int64', [1], new BigInt64Array([2n ** 63n - 1n])),
      },
      outputs: [
        { name: 'y', isBinary: false },
        { name: 'z', isBinary: true },
      ],
    });
  });

  test('takes a raw body for the one input of a model when the header length is 0', () => {
    const request = decodeInferRequest(new Uint8Array(new Float32Array([1, 2, 3, 4]).buffer), 0, {
      method: 'predict',
      inputs: { x: { dtype: 'float32', shape: [-1, 2] } },
      outputs: {},
    });

    expect(request).toMatchObject({ isBinary: true, inputs: { x: createTensor('float32', [2, 2], new Float32Array([1, 2, 3, 4])) } });
  });

  const input = (fields: string) => `{"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", ${fields}}]}`;
  test.each([
    ['{"inputs": 1}', 'invalid-argument'],
    [input('"data": [1]'), 'shape-mismatch'],
    [input('"data": [1, 2, 3]'), 'shape-mismatch'],
    [input('"data": ["a", "b"]'), 'dtype-mismatch'],
    [input('"parameters": {"binary_data_size": 8}'), 'invalid-argument'],
    [input('"parameters": {"binary_data_size": -8}'), 'invalid-argument'],
    [input('"parameters": {"shared_memory_region": "r"}'), 'unsupported'],
    ['{"inputs": [{"name": "x", "shape": [9007199254740991, 9007199254740991], "datatype": "FP32", "data": []}]}', 'shape-mismatch'],
    ['{"inputs": [{"name": "x", "shape": [-1], "datatype": "FP32", "data": []}]}', 'invalid-argument'],
    ['{"inputs": [{"name": "x", "shape": [0], "datatype": "FP33", "data": []}]}', 'invalid-argument'],
  ])('refuses %s', (text, code) => {
    expect(() => decodeInferRequest(bytes(text), undefined)).toThrow(expect.objectContaining({ code }));
  });

  test('never fails but by a typed error, whatever the bytes', () => {
    const { body, headerLength } = encodeInferRequest({ inputs: { s: createTensor('string', [2], [bytes('ab'), bytes('c')]) } });
    fc.assert(
      fc.property(fc.nat(body.length - 1), fc.nat(255), fc.nat(body.length + 4), (at, byte, length) => {
        const damaged = body.slice();
        damaged[at] = byte;
        for (const header of [headerLength, length]) {
          try {
            decodeInferRequest(damaged, header);
          } catch (error) {
            expect(error).toMatchObject({ name: 'NearfarError' });
          }
        }
      }),
      { numRuns: 300 },
    );
  });
});

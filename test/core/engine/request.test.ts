import { expect, test } from 'vitest';
import { assertShapeFits, checkRequest, createTensor, type Manifest } from '../../../src/core/index.ts';

const manifest: Manifest = {
  schemaVersion: 1,
  name: 'm',
  version: '1',
  signatures: {
    serving_default: {
      method: 'predict',
      inputs: { a: { dtype: 'float32', shape: [-1, 1] }, b: { dtype: 'string', shape: [] } },
      outputs: { y: { dtype: 'float32', shape: [-1] }, z: { dtype: 'float32', shape: [-1] } },
    },
  },
  variants: [
    { id: 'v', format: 'onnx', precision: 'float32', entry: 'm', files: ['m'], requires: [], tolerance: { absolute: 0, relative: 0 } },
  ],
  files: {},
  golden: [],
};
const a = createTensor('float32', [3], Float32Array.of(1, 2, 3));
const b = createTensor('string', [], [Uint8Array.of(65)]);
const SIGNATURE = 'serving_default';

test('all outputs are meant when none is named; a name said twice counts once', () => {
  expect(checkRequest(manifest, { signature: SIGNATURE, inputs: { a, b } }).outputs).toEqual(['y', 'z']);
  expect(checkRequest(manifest, { signature: SIGNATURE, inputs: { a, b }, outputs: ['z', 'z'] }).outputs).toEqual(['z']);
});

test("the signature's shape is not enforced, as TensorFlow Serving does not", () => {
  expect(() => checkRequest(manifest, { signature: SIGNATURE, inputs: { a, b } })).not.toThrow();
});

test('missing and unknown inputs are listed together', () => {
  expect(() => checkRequest(manifest, { signature: SIGNATURE, inputs: { a, c: a, d: a } })).toThrow(
    expect.objectContaining({
      code: 'invalid-argument',
      message: expect.stringContaining('missing: b; unknown: c, d'),
      details: expect.objectContaining({ missing: ['b'], unknown: ['c', 'd'] }),
    }),
  );
});

test('names that every object has are no signatures, inputs or outputs', () => {
  expect(() => checkRequest(manifest, { signature: 'constructor', inputs: { a, b } })).toThrow(
    expect.objectContaining({ code: 'invalid-argument' }),
  );
  expect(() => checkRequest(manifest, { signature: SIGNATURE, inputs: { a, b }, outputs: ['toString'] })).toThrow(
    expect.objectContaining({ code: 'invalid-argument' }),
  );
});

test('data in the wrong kind of array is a dtype mismatch, not wrong numbers', () => {
  // What plain JavaScript can pass in spite of the types.
  const wrong = JSON.parse('{"dtype":"float32","shape":[1]}');
  wrong.data = Float64Array.of(1);

  expect(() => checkRequest(manifest, { signature: SIGNATURE, inputs: { a: wrong, b } })).toThrow(
    expect.objectContaining({ code: 'dtype-mismatch', details: { name: 'a', want: 'Float32Array', got: 'Float64Array' } }),
  );
});

test('data must be as long as the shape says', () => {
  expect(() => checkRequest(manifest, { signature: SIGNATURE, inputs: { a: { ...a, shape: [2, 2] }, b } })).toThrow(
    expect.objectContaining({ code: 'shape-mismatch', details: { name: 'a', shape: [2, 2], want: 4, got: 3 } }),
  );
  expect(() => checkRequest(manifest, { signature: SIGNATURE, inputs: { a: { ...a, shape: [-1, -3] }, b } })).toThrow(
    expect.objectContaining({ code: 'shape-mismatch' }),
  );
});

test("the graph's own shape is enforced, -1 for any size", () => {
  expect(() => assertShapeFits('a', [-1, 3], [5, 3])).not.toThrow();
  expect(() => assertShapeFits('a', undefined, [5, 3])).not.toThrow();
  expect(() => assertShapeFits('a', [-1, 3], [5, 4])).toThrow(expect.objectContaining({ code: 'shape-mismatch' }));
  expect(() => assertShapeFits('a', [-1, 3], [3])).toThrow(expect.objectContaining({ code: 'shape-mismatch' }));
});

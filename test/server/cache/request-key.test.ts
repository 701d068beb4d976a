import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createTensor, type RunRequest, type TensorMap } from '../../../src/core/index.ts';
import { requestKey } from '../../../src/server/cache/request-key.ts';

const digest = `sha256:${'1'.repeat(64)}`;

function key(inputs: TensorMap, rest: Partial<RunRequest> & { digest?: string } = {}): string {
  return requestKey(rest.digest ?? digest, { signature: 'serving_default', outputs: ['y'], ...rest, inputs } as Parameters<
    typeof requestKey
  >[1]);
}

const six = Float32Array.from([1, 2, 3, 4, 5, 6]);
const text = (...values: string[]) =>
  createTensor(
    'string',
    [values.length],
    values.map((value) => new TextEncoder().encode(value)),
  );

test('requests that differ in one thing have different keys', () => {
  const x = createTensor('float32', [2, 3], six);
  const keys = [
    key({ x }),
    key({ x: createTensor('float32', [3, 2], six) }),
    key({ x: createTensor('float32', [6], six) }),
    key({ x: createTensor('float32', [6, 1], six) }),
    key({ x: createTensor('int32', [2, 3], new Int32Array(six.buffer)) }),
    key({ x: createTensor('uint32', [2, 3], new Uint32Array(six.buffer)) }),
    key({ x: createTensor('float32', [2, 3], Float32Array.from([1, 2, 3, 4, 5, 7])) }),
    key({ z: x }),
    key({ x }, { signature: 'other' }),
    key({ x }, { outputs: ['z'] }),
    key({ x }, { outputs: ['y', 'z'] }),
    key({ x }, { outputs: ['yz'] }),
    key({ x }, { layouts: { x: 'NCHW' } }),
    key({ x }, { digest: `sha256:${'2'.repeat(64)}` }),
    key({ x, x2: x }),
    key({ x: text('ab', 'c') }),
    key({ x: text('a', 'bc') }),
    key({ x: text('abc') }),
    key({ x: text('abc', '') }),
    key({ x: text('') }),
    key({ x: text() }),
  ];

  expect(new Set(keys).size).toBe(keys.length);
});

test('the order of inputs and outputs, and where the bytes lie, do not count', () => {
  const [a, b] = [createTensor('float32', [6], six), text('b')];
  const shifted = new Float32Array([0, ...six]).subarray(1);

  const keys = [
    key({ a, b }, { outputs: ['y', 'z'] }),
    key({ b, a }, { outputs: ['z', 'y'] }),
    key({ b, a: createTensor('float32', [6], shifted) }, { outputs: ['z', 'y', 'z'] }),
  ];

  expect(new Set(keys).size).toBe(1);
});

test('any two different requests have different keys, and equal ones the same', () => {
  const name = fc.constantFrom('a', 'b', 'ab', 'é', '');
  const numeric = fc
    .record({ rows: fc.nat(2), columns: fc.nat(2), isInt: fc.boolean(), seed: fc.nat(1) })
    .map(({ rows, columns, isInt, seed }) => {
      const values = Array.from({ length: rows * columns }, () => seed);
      const shape = [rows, columns];
      return isInt ? createTensor('int32', shape, Int32Array.from(values)) : createTensor('float32', shape, Float32Array.from(values));
    });
  const strings = fc.array(fc.constantFrom('', 'a', 'b', 'ab'), { maxLength: 3 }).map((values) => text(...values));
  const request = fc.record({
    signature: name,
    outputs: fc.uniqueArray(name, { maxLength: 3 }).map((names) => names.sort()),
    inputs: fc.dictionary(name, fc.oneof(numeric, strings), { maxKeys: 3 }),
  });
  const said = ({ signature, outputs, inputs }: RunRequest) =>
    JSON.stringify([
      signature,
      outputs,
      Object.entries(inputs)
        .map(([input, { dtype, shape, data }]) => [input, dtype, shape, Array.from(data, String)])
        .sort(),
    ]);

  fc.assert(
    fc.property(request, request, (one, other) => {
      expect(requestKey(digest, one) === requestKey(digest, other)).toBe(said(one) === said(other));
    }),
    { numRuns: 500 },
  );
});

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type DType, decodeInferRequest, decodePredictJson, serializeError } from '../../../src/core/index.ts';
import { readUsualInfer, readUsualPredict } from '../../../src/core/protocol/usual-json.ts';
import { mutations } from '../../support/mutations.ts';

const bytesOf = (text: string) => new TextEncoder().encode(text);

/** The first byte of a mark that is skipped where nothing stands before it. */
const byteOrderMark = 0xef;

/** Space before a document changes nothing, but only the general readers take a body of this length. */
function padded(body: Uint8Array): Uint8Array {
  const long = new Uint8Array(5000 + body.length).fill(0x20);
  long.set(body, 5000);
  return long;
}

/** What became of a body; where in it something is wrong is not counted from the same beginning. */
function outcomeOf(read: () => unknown): unknown {
  try {
    return read();
  } catch (error) {
    const { code, message } = serializeError(error);
    return { code, message: message.replace(/offset: \d+/, 'offset') };
  }
}

const signatureOf = (dtype: DType, names = ['x']) => ({
  inputs: Object.fromEntries(names.map((name) => [name, { dtype, shape: [-1] }])),
});

const usualNumber = fc.oneof(
  fc.integer({ min: -1000, max: 1000 }),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.constantFrom('-0', '1E+2', '0.1e-3', '2147483648', '9007199254740993', '1e999'),
);
const usualList = fc
  .tuple(
    fc.integer({ min: 1, max: 3 }),
    fc.integer({ min: 1, max: 4 }),
    fc.boolean(),
    fc.array(usualNumber, { minLength: 12, maxLength: 12 }),
  )
  .map(([rows, columns, isFlat, values]) => {
    const row = (from: number, length: number) => `[${values.slice(from, from + length).join(', ')}]`;
    if (isFlat) return { text: row(0, columns), shape: [columns] };
    return { text: `[${Array.from({ length: rows }, (_, index) => row(index * columns, columns)).join(' ,')}]`, shape: [rows, columns] };
  });
const dtypes = fc.constantFrom<DType>('float32', 'float64', 'int32', 'int64', 'uint8', 'uint16', 'bool', 'string', 'float16');

describe('a small body of :predict', () => {
  const bodies = fc.tuple(fc.constantFrom('instances', 'inputs'), usualList).map(([key, { text }]) => `{"${key}" :${text}\n}`);

  test.each([
    ['{"instances":[1,2,5]}', 'row', [3]],
    ['\n{ "inputs" : [[1.5], [2]] } and more', 'columnar', [2, 1]],
  ])('is read without a document: %s', (text, format, shape) => {
    const read = readUsualPredict(bytesOf(text), () => signatureOf('float32').inputs);

    expect(read).toMatchObject({ format, inputs: { x: { dtype: 'float32', shape } } });
  });

  test('is read as the general reader does, damaged or not', () => {
    fc.assert(
      fc.property(bodies, dtypes, mutations, fc.boolean(), (text, dtype, mutate, isDamaged) => {
        const body = isDamaged ? mutate(bytesOf(text)) : bytesOf(text);
        fc.pre(body.length > 0 && body[0] !== byteOrderMark);
        const find = () => signatureOf(dtype);

        expect(outcomeOf(() => decodePredictJson(body, find))).toEqual(outcomeOf(() => decodePredictJson(padded(body), find)));
      }),
      { numRuns: 3000 },
    );
  });

  test.each([
    ['two inputs', '{"inputs":[1]}', signatureOf('float32', ['x', 'y'])],
    ['a signature that is named', '{"signature_name":"other","instances":[1]}', signatureOf('float32')],
    ['both keys', '{"instances":[1],"inputs":[2]}', signatureOf('float32')],
    ['a key that is given twice', '{"instances":[1],"instances":[2]}', signatureOf('float32')],
    ['a bare NaN', '{"instances":[NaN]}', signatureOf('float32')],
    ['ragged rows', '{"instances":[[1],[2,3]]}', signatureOf('float32')],
    ['a fraction for an int32', '{"instances":[1.5]}', signatureOf('int32')],
    ['more than 4 KB', `{"instances":[${'1,'.repeat(2100)}1]}`, signatureOf('float32')],
  ])('is left to the general reader with %s', (_, text, { inputs }) => {
    expect(readUsualPredict(bytesOf(text), () => inputs)).toBe(undefined);
  });
});

describe('a small body of the Open Inference Protocol', () => {
  const tensors = fc.tuple(
    fc.constantFrom('x', 'y', '__proto__', 'constructor'),
    usualList,
    fc.constantFrom('FP32', 'FP64', 'INT32', 'INT64', 'FP16', 'BYTES'),
  );
  const bodies = fc
    .tuple(
      fc.array(tensors, { minLength: 1, maxLength: 3 }),
      fc.constantFrom('', '"id": "a b",'),
      fc.constantFrom('', ', "outputs":[{"name":"y"}, {"name":"z"}]'),
    )
    .map(([inputs, id, outputs]) => {
      const list = inputs.map(
        ([name, { text, shape }, datatype]) => `{"name":"${name}", "shape":[${shape}],"datatype":"${datatype}","data":${text}}`,
      );
      return `{${id}"inputs":[${list.join(',')}]${outputs}}`;
    });

  test('is read without a document', () => {
    const text = '{"id":"7","inputs":[{"name":"x","shape":[2,1],"datatype":"FP32","data":[1.5,-2]}],"outputs":[{"name":"y"}]}';

    const read = readUsualInfer(bytesOf(text));

    expect(read).toEqual({
      id: '7',
      inputs: { x: { dtype: 'float32', shape: [2, 1], data: Float32Array.of(1.5, -2) } },
      outputs: ['y'],
    });
  });

  test('is read as the general reader does, damaged or not', () => {
    fc.assert(
      fc.property(bodies, mutations, fc.boolean(), (text, mutate, isDamaged) => {
        const body = isDamaged ? mutate(bytesOf(text)) : bytesOf(text);
        fc.pre(body[0] !== byteOrderMark);

        expect(outcomeOf(() => decodeInferRequest(body, undefined))).toEqual(outcomeOf(() => decodeInferRequest(padded(body), undefined)));
      }),
      { numRuns: 3000 },
    );
  });

  test.each([
    ['parameters', '{"parameters":{},"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]}]}'],
    ['parameters of a tensor', '{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","parameters":{},"data":[1]}]}'],
    ['data before its shape', '{"inputs":[{"name":"x","data":[1],"shape":[1],"datatype":"FP32"}]}'],
    ['a tensor that is given twice', `{"inputs":[${'{"name":"x","shape":[1],"datatype":"FP32","data":[1]},'.repeat(2).slice(0, -1)}]}`],
    ['data that does not fill its shape', '{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1]}]}'],
    ['a shape below 0', '{"inputs":[{"name":"x","shape":[-1,-1],"datatype":"FP32","data":[1]}]}'],
    ['an escape in a name', '{"inputs":[{"name":"\\u0078","shape":[1],"datatype":"FP32","data":[1]}]}'],
    ['text in place of numbers', '{"inputs":[{"name":"x","shape":[1],"datatype":"BYTES","data":["a"]}]}'],
  ])('is left to the general reader with %s', (_, text) => {
    expect(readUsualInfer(bytesOf(text))).toBe(undefined);
  });
});

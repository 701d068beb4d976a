import { create, toBinary } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import {
  assertListsFit,
  decodeTensorProto,
  encodeTensorProto,
  NearfarError,
  PredictRequestSchema,
  tensorFromBytes,
} from '../../../src/core/index.ts';
import { TensorProtoSchema } from '../../../src/core/protocol/gen/tensorflow/core/framework/tensor_pb.ts';
import { DataType } from '../../../src/core/protocol/gen/tensorflow/core/framework/types_pb.ts';

// V8 does not throw where an array grows too large: it ends the process. What would make one has to be refused before.

const utf8 = (text: string) => new TextEncoder().encode(text);

test.each([
  ['strings', DataType.DT_STRING, { stringVal: [utf8('a')] }, 2 ** 27],
  ['strings that are all empty', DataType.DT_STRING, {}, 2 ** 30],
  ['numbers', DataType.DT_FLOAT, { floatVal: [1] }, 2 ** 26],
  ['zeros', DataType.DT_INT64, {}, 2 ** 25],
])('one value does not stand for more %s than the memory of a large request', (_, dtype, values, size) => {
  const proto = create(TensorProtoSchema, { dtype, tensorShape: { dim: [{ size: BigInt(size) }] }, ...values });

  expect(() => decodeTensorProto(proto, 'x')).toThrow(NearfarError);
});

test('one value still stands for a million', () => {
  const proto = create(TensorProtoSchema, {
    dtype: DataType.DT_STRING,
    tensorShape: { dim: [{ size: 1_000_000n }] },
    stringVal: [utf8('a')],
  });

  expect(decodeTensorProto(proto, 'x').data).toHaveLength(1_000_000);
});

test('numbers that are given one by one may be more than those that one value stands for', () => {
  const values = new Float32Array(2 ** 25 + 1).fill(2);
  const proto = encodeTensorProto({ dtype: 'float32', shape: [values.length], data: values });

  expect(decodeTensorProto(proto, 'x').data.at(-1)).toBe(2);
});

/** A message with one field of so many bytes. */
function fieldOf(number: number, content: Uint8Array): Uint8Array {
  const length: number[] = [];
  for (let rest = content.length; ; rest = Math.floor(rest / 128)) {
    length.push(rest < 128 ? rest : (rest % 128) + 128);
    if (rest < 128) break;
  }
  const message = new Uint8Array(1 + length.length + content.length);
  message.set([number * 8 + 2, ...length]);
  message.set(content, 1 + length.length);
  return message;
}

test('a list of more numbers than there is memory for is refused before it is read, inside a map too', () => {
  const entry = fieldOf(1, utf8('x'));
  const tensor = fieldOf(2, fieldOf(11, new Uint8Array(100_000_001)));
  const inputs = new Uint8Array(entry.length + tensor.length);
  inputs.set(entry);
  inputs.set(tensor, entry.length);

  expect(() => assertListsFit(PredictRequestSchema, fieldOf(2, inputs))).toThrow(/bool_val/);
  expect(() => assertListsFit(TensorProtoSchema, fieldOf(11, new Uint8Array(100_000_000)))).not.toThrow();
  expect(() => assertListsFit(TensorProtoSchema, fieldOf(10, new Uint8Array(25_000_001)))).toThrow(/int64_val/);
});

test('a list of more strings than there is memory for is refused before it is read', () => {
  const emptyStrings = new Uint8Array(2 * 6_250_001);
  for (let at = 0; at < emptyStrings.length; at += 2) emptyStrings[at] = 8 * 8 + 2;

  expect(() => assertListsFit(TensorProtoSchema, emptyStrings)).toThrow(/string_val/);
  expect(() => assertListsFit(TensorProtoSchema, emptyStrings.subarray(2))).not.toThrow();
});

test('bytes in one piece may have any length', () => {
  const proto = create(TensorProtoSchema, { dtype: DataType.DT_UINT8, tensorContent: new Uint8Array(150_000_000) });

  expect(() => assertListsFit(TensorProtoSchema, toBinary(TensorProtoSchema, proto))).not.toThrow();
});

test('more strings of the Open Inference Protocol than there is memory for are refused', () => {
  expect(() => tensorFromBytes('s', 'BYTES', [6_250_001], new Uint8Array(4 * 6_250_001))).toThrow(/more than 6250000 strings/);
});

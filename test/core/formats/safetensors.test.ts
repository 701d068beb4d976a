import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createTensor, decodeSafetensors, encodeSafetensors, NearfarError, type TensorMap } from '../../../src/core/index.ts';

const bytesOf = (text: string) => new TextEncoder().encode(text);

const tensors: TensorMap = {
  bool: createTensor('bool', [3], Uint8Array.of(1, 0, 1)),
  u8: createTensor('uint8', [1, 2], Uint8Array.of(0, 255)),
  i8: createTensor('int8', [2], Int8Array.of(-128, 127)),
  u16: createTensor('uint16', [1], Uint16Array.of(65535)),
  i16: createTensor('int16', [1], Int16Array.of(-32768)),
  u32: createTensor('uint32', [1], Uint32Array.of(4294967295)),
  i32: createTensor('int32', [], Int32Array.of(-2147483648)),
  u64: createTensor('uint64', [1], BigUint64Array.of(2n ** 64n - 1n)),
  i64: createTensor('int64', [2], BigInt64Array.of(-(2n ** 63n), 2n ** 63n - 1n)),
  f16: createTensor('float16', [1], Uint16Array.of(0x3c00)),
  bf16: createTensor('bfloat16', [1], Uint16Array.of(0x3f80)),
  f32: createTensor('float32', [2, 2], Float32Array.of(1.5, -0, Number.NaN, Infinity)),
  f64: createTensor('float64', [1], Float64Array.of(Math.PI)),
  c64: createTensor('complex64', [1], Float32Array.of(1, 2)),
  strings: createTensor('string', [2, 2], [bytesOf('a'), bytesOf(''), bytesOf('ä€'), Uint8Array.of(0xff, 0)]),
  empty: createTensor('float32', [0, 3], new Float32Array()),
  'no strings': createTensor('string', [0], []),
};

describe('encode and decode', () => {
  test('are inverses for every dtype, in aligned memory', () => {
    const decoded = decodeSafetensors(encodeSafetensors(tensors));

    expect(Object.keys(decoded).sort()).toEqual(Object.keys(tensors).sort());
    for (const [name, tensor] of Object.entries(tensors)) expect(decoded[name], name).toEqual(tensor);
  });

  test('the order of tensors does not change the bytes', () => {
    const reversed = Object.fromEntries(Object.entries(tensors).reverse());

    expect(encodeSafetensors(reversed)).toEqual(encodeSafetensors(tensors));
  });

  test('refuse what the format does not have', () => {
    expect(() => encodeSafetensors({ c: createTensor('complex128', [1], Float64Array.of(1, 2)) })).toThrowError(
      expect.objectContaining({ code: 'unsupported' }),
    );
  });
});

test('reads a file as the reference implementation writes it', () => {
  // safetensors.numpy.save({"x": np.array([1, 2], np.float32)}, {"format": "np"}): header padded with spaces to a multiple of 8.
  const header = '{"__metadata__":{"format":"np"},"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'.padEnd(88);

  expect(decodeSafetensors(fileOf(header, new Uint8Array(Float32Array.of(1, 2).buffer)))).toEqual({
    x: createTensor('float32', [2], Float32Array.of(1, 2)),
  });
});

describe('damaged files', () => {
  test.each([
    ['nothing', new Uint8Array()],
    ['a header longer than the file', new Uint8Array([255, 0, 0, 0, 0, 0, 0, 0])],
    ['a header length beyond 2^53', new Uint8Array(8).fill(255)],
    ['no JSON', fileOf('{"x":', new Uint8Array())],
    ['a list', fileOf('[]', new Uint8Array())],
    ['deeply nested JSON', fileOf('['.repeat(200_000), new Uint8Array())],
    ['a tensor past the end', fileOf('{"x":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}', new Uint8Array(3))],
    [
      'overlapping tensors',
      fileOf(
        '{"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"y":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}',
        new Uint8Array(3),
      ),
    ],
    ['a hole', fileOf('{"x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}', new Uint8Array(2))],
    ['bytes of no tensor', fileOf('{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', new Uint8Array(2))],
    ['a shape that does not fit', fileOf('{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', new Uint8Array(4))],
    ['a negative size', fileOf('{"x":{"dtype":"U8","shape":[-1],"data_offsets":[0,0]}}', new Uint8Array())],
    ['a huge shape', fileOf('{"x":{"dtype":"U8","shape":[9007199254740991,9007199254740991],"data_offsets":[0,1]}}', new Uint8Array(1))],
    [
      'a string that ends outside',
      fileOf(
        '{"__metadata__":{"nearfar.strings":"{\\"x\\":[1]}"},"x":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}',
        Uint8Array.of(9, 0, 0, 0),
      ),
    ],
  ])('%s is refused', (_, file) => {
    expect(() => decodeSafetensors(file)).toThrowError(expect.objectContaining({ code: 'invalid-argument' }));
  });

  test('an element type without a dtype is named', () => {
    const file = fileOf('{"x":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}', new Uint8Array(1));

    expect(() => decodeSafetensors(file)).toThrowError(
      expect.objectContaining({ code: 'unsupported', details: { name: 'x', dtype: 'F8_E4M3' } }),
    );
  });

  test('any cut and any flipped byte gives tensors or a typed error', () => {
    const file = encodeSafetensors(tensors);
    fc.assert(
      fc.property(fc.nat(file.length - 1), fc.nat(255), fc.boolean(), (at, value, isCut) => {
        const changed = isCut ? file.slice(0, at) : file.with(at, value);
        expectTypedError(() => decodeSafetensors(changed));
      }),
      { numRuns: 2000 },
    );
  });
});

function fileOf(header: string, data: Uint8Array): Uint8Array {
  const json = bytesOf(header);
  const file = new Uint8Array(8 + json.length + data.length);
  new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true);
  file.set(json, 8);
  file.set(data, 8 + json.length);
  return file;
}

function expectTypedError(read: () => unknown): void {
  try {
    read();
  } catch (error) {
    expect(error).toBeInstanceOf(NearfarError);
  }
}

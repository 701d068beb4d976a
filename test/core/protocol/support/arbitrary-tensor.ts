import fc from 'fast-check';
import {
  type AnyTensor,
  bytesPerElement,
  createTensor,
  type DType,
  dataFromBytes,
  dtypes,
  elementCount,
} from '../../../../src/core/index.ts';

/** Any tensor of up to 3 dimensions; bits are arbitrary, so floats include every NaN, infinity and subnormal. */
export function arbitraryTensor(wanted: readonly DType[] = dtypes): fc.Arbitrary<AnyTensor> {
  const shapes = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 3 });
  return fc.tuple(fc.constantFrom(...wanted), shapes).chain(([dtype, shape]): fc.Arbitrary<AnyTensor> => {
    const elements = elementCount(shape);
    const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
    if (dtype === 'string') {
      return fc
        .array(fc.uint8Array({ maxLength: 5 }), { minLength: elements, maxLength: elements })
        .map((data) => createTensor('string', shape, data));
    }
    if (dtype === 'bool') return bytes(elements).map((data) => createTensor('bool', shape, new Uint8Array(data.map((byte) => byte & 1))));
    return bytes(elements * bytesPerElement(dtype)).map(
      (data) => createTensor(dtype, shape, dataFromBytes(dtype, new Uint8Array(data))) as AnyTensor,
    );
  });
}

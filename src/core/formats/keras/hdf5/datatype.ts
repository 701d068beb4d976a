import type { NumericDType } from '../../../tensor/index.ts';
import { type Cursor, damaged, unsupported } from './source.ts';

/** Elements of a dataset or an attribute, as far as Keras writes them. */
export type Datatype =
  | { readonly kind: 'number'; readonly dtype: NumericDType; readonly size: number }
  | { readonly kind: 'string'; readonly size: number }
  /** A length, and where the text lies in the global heap. */
  | { readonly kind: 'long-string'; readonly size: number };

/** Sizes of a dataspace, [] of a scalar; undefined of the empty one. */
export type Dataspace = readonly number[] | undefined;

const MAX_RANK = 32;

/** HDF5 File Format Specification 3.0, IV.A.2.d "The Datatype Message". */
export function readDatatype(cursor: Cursor): Datatype {
  const head = cursor.uint(1);
  const bits = cursor.uint(1) | (cursor.uint(2) << 8);
  const size = cursor.uint(4);
  switch (head & 15) {
    case 0: {
      assertLittleEndian(bits, size);
      cursor.skip(4);
      const dtype = integers[`${bits & 8 ? 'int' : 'uint'}${size * 8}`];
      if (dtype === undefined) throw unsupported(`integers of ${size} bytes`);
      return { kind: 'number', dtype, size };
    }
    case 1: {
      assertLittleEndian(bits, size);
      cursor.skip(5);
      const exponentBits = cursor.uint(1);
      cursor.skip(6);
      const dtype = floats[`${size}/${exponentBits}`];
      if (dtype === undefined) throw unsupported(`floats of ${size} bytes with an exponent of ${exponentBits} bits`);
      return { kind: 'number', dtype, size };
    }
    case 3:
      return { kind: 'string', size };
    case 8:
      // h5py's booleans: an enumeration of FALSE and TRUE.
      if (size !== 1) throw unsupported('an enumeration that is no boolean');
      return { kind: 'number', dtype: 'bool', size };
    case 9:
      if ((bits & 15) !== 1) throw unsupported('sequences of variable length');
      return { kind: 'long-string', size };
    case 5:
      throw unsupported('opaque elements (bfloat16, for one)');
    default:
      throw unsupported(`elements of class ${head & 15}`);
  }
}

/** IV.A.2.b "The Dataspace Message". */
export function readDataspace(cursor: Cursor, lengthSize: number): Dataspace {
  const version = cursor.uint(1);
  const rank = cursor.uint(1);
  cursor.skip(1);
  if (version === 1) cursor.skip(5);
  else if (version === 2) {
    if (cursor.uint(1) === 2) return undefined;
  } else throw damaged(`a dataspace of version ${version} at ${cursor.at}`);
  if (rank > MAX_RANK) throw damaged(`a dataspace of rank ${rank} at ${cursor.at}`);
  const shape = Array.from({ length: rank }, () => cursor.uint(lengthSize));
  if (!Number.isSafeInteger(shape.reduce((product, dim) => product * dim, 1))) throw damaged(`sizes [${shape}] at ${cursor.at}`);
  return shape;
}

const integers: Readonly<Record<string, NumericDType>> = {
  int8: 'int8',
  int16: 'int16',
  int32: 'int32',
  int64: 'int64',
  uint8: 'uint8',
  uint16: 'uint16',
  uint32: 'uint32',
  uint64: 'uint64',
};

/** By size and bits of the exponent. */
const floats: Readonly<Record<string, NumericDType>> = { '2/5': 'float16', '2/8': 'bfloat16', '4/8': 'float32', '8/11': 'float64' };

function assertLittleEndian(bits: number, size: number): void {
  if (bits & 1 && size > 1) throw unsupported('big-endian numbers');
}

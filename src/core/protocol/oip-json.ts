import { NearfarError } from '../errors.ts';
import type { AnyTensor } from '../tensor/index.ts';
import { formatDecimal } from './json-decimal.ts';
import { inferenceDatatypeOf } from './wire-dtypes.ts';

/**
 * A tensor of an answer with its values as a flat JSON list; non-finite floats are bare words, as in TensorFlow Serving.
 * @throws {NearfarError} `invalid-argument` for FP16 and BF16, which the protocol carries in binary alone; `unsupported` for complex numbers.
 */
export function encodeTensorJson(name: string, tensor: AnyTensor): string {
  const datatype = inferenceDatatypeOf(tensor.dtype);
  if (datatype === undefined) throw new NearfarError('unsupported', `tensor '${name}': the Open Inference Protocol has no ${tensor.dtype}`);
  return `{"name":${JSON.stringify(name)},"datatype":"${datatype}","shape":[${tensor.shape.join(',')}],"data":[${values(name, tensor).join(',')}]}`;
}

function values(name: string, tensor: AnyTensor): string[] {
  switch (tensor.dtype) {
    case 'float32':
    case 'float64':
      return Array.from(tensor.data, (value) => formatDecimal(value, tensor.dtype));
    case 'bool':
      return Array.from(tensor.data, (value) => (value === 0 ? 'false' : 'true'));
    case 'int64':
    case 'uint64':
      return Array.from(tensor.data, String);
    case 'int8':
    case 'int16':
    case 'int32':
    case 'uint8':
    case 'uint16':
    case 'uint32':
      return Array.from(tensor.data, String);
    case 'string': {
      const decoder = new TextDecoder();
      return tensor.data.map((bytes) => JSON.stringify(decoder.decode(bytes)));
    }
    default:
      throw new NearfarError('invalid-argument', `output '${name}' of ${tensor.dtype} has no JSON form. Please use the binary data format`);
  }
}

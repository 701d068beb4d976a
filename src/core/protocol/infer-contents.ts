import { NearfarError } from '../errors.ts';
import { type AnyTensor, createData, createTensor, elementCount, type NumericDType } from '../tensor/index.ts';
import type { InferTensorContents } from './gen/inference/grpc_service_pb.ts';
import { numericTensor } from './numeric-tensor.ts';
import { dtypeOfInferenceDatatype } from './wire-dtypes.ts';

/**
 * A tensor from the typed contents of the Open Inference Protocol over gRPC.
 * @throws {NearfarError} `invalid-argument` (unknown datatype; FP16 and BF16, which have no typed field), `shape-mismatch`.
 */
export function decodeInferContents(
  name: string,
  datatype: string,
  shape: readonly number[],
  contents: InferTensorContents | undefined,
): AnyTensor {
  const dtype = dtypeOfInferenceDatatype(datatype);
  if (dtype === undefined) throw new NearfarError('invalid-argument', `tensor '${name}' has unknown datatype '${datatype}'`);
  if (dtype === 'string') return createTensor('string', shape, contents?.bytesContents ?? []);
  const values = contents ? typedValues(contents, dtype) : [];
  if (values === undefined) throw new NearfarError('invalid-argument', `tensor '${name}': ${datatype} is sent in raw_input_contents`);
  const want = elementCount(shape);
  if (values.length !== want) {
    throw new NearfarError('shape-mismatch', `tensor '${name}' of shape [${shape}] takes ${want} values, got ${values.length}`, {
      details: { name, shape: [...shape], want, got: values.length },
    });
  }
  const data = createData(dtype, want);
  const items: { [index: number]: number | bigint | boolean } = data;
  for (const [index, value] of values.entries()) items[index] = value;
  assertInRange(name, datatype, values, items);
  return numericTensor(dtype, shape, data);
}

/** Narrow integers come in fields of 32 bits, and what does not fit would be cut. */
function assertInRange(
  name: string,
  datatype: string,
  sent: readonly (number | bigint | boolean)[],
  kept: { [index: number]: unknown },
): void {
  if (!narrow.has(datatype)) return;
  const wrong = sent.findIndex((value, index) => kept[index] !== value);
  if (wrong === -1) return;
  throw new NearfarError('dtype-mismatch', `tensor '${name}' of ${datatype} cannot hold ${sent[wrong]} at index ${wrong}`, {
    details: { name, datatype, index: wrong },
  });
}

const narrow: ReadonlySet<string> = new Set(['INT8', 'INT16', 'UINT8', 'UINT16']);

function typedValues(contents: InferTensorContents, dtype: NumericDType): readonly (number | bigint | boolean)[] | undefined {
  switch (dtype) {
    case 'bool':
      return contents.boolContents;
    case 'int8':
    case 'int16':
    case 'int32':
      return contents.intContents;
    case 'uint8':
    case 'uint16':
    case 'uint32':
      return contents.uintContents;
    case 'int64':
      return contents.int64Contents;
    case 'uint64':
      return contents.uint64Contents;
    case 'float32':
      return contents.fp32Contents;
    case 'float64':
      return contents.fp64Contents;
    default:
      return undefined;
  }
}

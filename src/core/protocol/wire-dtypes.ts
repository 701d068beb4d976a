import type { DType } from '../tensor/index.ts';
import type { DataType } from './gen/tensorflow/core/framework/types_pb.ts';

interface WireDType {
  /** Its name in TensorFlow's enum. */
  readonly tensorflow: string;
  /** Its number in messages; written out, so that who needs no protobuf message does not load them. */
  readonly dataType: DataType;
  /** TensorFlow's DataTypeString(), in error texts. */
  readonly text: string;
  /** Datatype of the Open Inference Protocol; BF16 is Triton's addition; it has no complex numbers. */
  readonly inference?: string;
}

const wireDTypes = {
  bool: { tensorflow: 'DT_BOOL', dataType: 10, text: 'bool', inference: 'BOOL' },
  uint8: { tensorflow: 'DT_UINT8', dataType: 4, text: 'uint8', inference: 'UINT8' },
  uint16: { tensorflow: 'DT_UINT16', dataType: 17, text: 'uint16', inference: 'UINT16' },
  uint32: { tensorflow: 'DT_UINT32', dataType: 22, text: 'uint32', inference: 'UINT32' },
  uint64: { tensorflow: 'DT_UINT64', dataType: 23, text: 'uint64', inference: 'UINT64' },
  int8: { tensorflow: 'DT_INT8', dataType: 6, text: 'int8', inference: 'INT8' },
  int16: { tensorflow: 'DT_INT16', dataType: 5, text: 'int16', inference: 'INT16' },
  int32: { tensorflow: 'DT_INT32', dataType: 3, text: 'int32', inference: 'INT32' },
  int64: { tensorflow: 'DT_INT64', dataType: 9, text: 'int64', inference: 'INT64' },
  float16: { tensorflow: 'DT_HALF', dataType: 19, text: 'half', inference: 'FP16' },
  bfloat16: { tensorflow: 'DT_BFLOAT16', dataType: 14, text: 'bfloat16', inference: 'BF16' },
  float32: { tensorflow: 'DT_FLOAT', dataType: 1, text: 'float', inference: 'FP32' },
  float64: { tensorflow: 'DT_DOUBLE', dataType: 2, text: 'double', inference: 'FP64' },
  complex64: { tensorflow: 'DT_COMPLEX64', dataType: 8, text: 'complex64' },
  complex128: { tensorflow: 'DT_COMPLEX128', dataType: 18, text: 'complex128' },
  string: { tensorflow: 'DT_STRING', dataType: 7, text: 'string', inference: 'BYTES' },
} as const satisfies Readonly<Record<DType, WireDType>>;

const byDataType = new Map<number, DType>();
const byInferenceDatatype = new Map<string, DType>();
for (const dtype of Object.keys(wireDTypes) as DType[]) {
  const wire: WireDType = wireDTypes[dtype];
  byDataType.set(wire.dataType, dtype);
  if (wire.inference !== undefined) byInferenceDatatype.set(wire.inference, dtype);
}

export function dataTypeOf(dtype: DType): DataType {
  return wireDTypes[dtype].dataType;
}

/** `float` for float32: TensorFlow's word in error texts. */
export function dataTypeText(dtype: DType): string {
  return wireDTypes[dtype].text;
}

/** `DT_FLOAT` for float32: its name in TensorFlow's enum. */
export function dataTypeName(dtype: DType): string {
  return wireDTypes[dtype].tensorflow;
}

export function dtypeOfDataType(dataType: number): DType | undefined {
  return byDataType.get(dataType);
}

/** `FP32` for float32; undefined for complex numbers, which the Open Inference Protocol does not have. */
export function inferenceDatatypeOf(dtype: DType): string | undefined {
  const wire: WireDType = wireDTypes[dtype];
  return wire.inference;
}

export function dtypeOfInferenceDatatype(datatype: string): DType | undefined {
  return byInferenceDatatype.get(datatype);
}

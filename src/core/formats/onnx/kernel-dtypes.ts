import type { DType } from '../../tensor/index.ts';

// Which dtypes ONNX Runtime's CPU provider computes an operator in (docs/OperatorKernels.md of onnxruntime 1.30); the other providers
// have fewer and hand the rest to it. float16 is no question: ONNX Runtime casts around a kernel that lacks it.

const float: readonly DType[] = ['float16', 'float32'];
const floats: readonly DType[] = [...float, 'float64'];
const common: readonly DType[] = [...floats, 'int32', 'int64'];
const numbers: readonly DType[] = [...common, 'int8', 'int16', 'uint8', 'uint16', 'uint32', 'uint64'];
const integers: readonly DType[] = ['int8', 'int16', 'int32', 'int64', 'uint8', 'uint16', 'uint32', 'uint64'];
const ordered: readonly DType[] = [...common, 'int8', 'uint8', 'uint32', 'uint64'];
const reduced: readonly DType[] = [...common, 'int8', 'uint8'];

/** Operators that are not here move elements of any dtype. */
const kernels: Readonly<Record<string, readonly DType[]>> = {
  Abs: numbers,
  Acos: float,
  Acosh: float,
  Add: numbers,
  ArgMax: reduced,
  ArgMin: reduced,
  Asin: float,
  Asinh: float,
  Atan: float,
  Atanh: float,
  AveragePool: float,
  BatchNormalization: floats,
  BitwiseAnd: integers,
  BitwiseNot: integers,
  BitwiseOr: integers,
  BitwiseXor: integers,
  Ceil: floats,
  Clip: ordered,
  Conv: float,
  ConvTranspose: float,
  Cos: floats,
  Cosh: float,
  CumSum: common,
  DepthToSpace: [...floats, 'int8', 'uint8'],
  Div: numbers,
  Einsum: common,
  Elu: float,
  Equal: [...numbers, 'bool'],
  Erf: float,
  Exp: floats,
  Floor: floats,
  Gemm: floats,
  GlobalAveragePool: float,
  Greater: numbers,
  GreaterOrEqual: numbers,
  IsInf: floats,
  IsNaN: floats,
  LRN: float,
  LeakyRelu: float,
  Less: numbers,
  LessOrEqual: numbers,
  Log: floats,
  LogSoftmax: floats,
  MatMul: [...common, 'uint32', 'uint64'],
  Max: ordered,
  MaxPool: [...floats, 'int8', 'uint8'],
  Min: ordered,
  Mod: numbers,
  Mul: numbers,
  Neg: [...common, 'int8', 'int16'],
  NonZero: [...float, 'bool', 'int32', 'int64', 'uint8'],
  PRelu: float,
  Pad: [...common, 'bool', 'int8', 'uint8', 'uint32', 'uint64'],
  Pow: common,
  Range: [...floats, 'int16', 'int32', 'int64'],
  Reciprocal: floats,
  ReduceL2: common,
  ReduceMax: reduced,
  ReduceMean: common,
  ReduceMin: reduced,
  ReduceProd: common,
  ReduceSum: common,
  Relu: [...floats, 'int8', 'int32'],
  Resize: [...float, 'int8', 'int32', 'uint8'],
  Round: floats,
  Selu: float,
  Sigmoid: floats,
  Sign: numbers,
  Sin: floats,
  Sinh: float,
  Softmax: floats,
  Softplus: float,
  Softsign: float,
  SpaceToDepth: [...floats, 'int8', 'uint8'],
  Sqrt: floats,
  Sub: numbers,
  Tan: float,
  Tanh: floats,
  Tile: [...numbers, 'bool'],
  TopK: [...common, 'int8', 'int16', 'uint8'],
  Trilu: [...floats, 'bool', 'int32', 'int64'],
  Unique: [...floats, 'int64', 'int8'],
  Where: [...common, 'uint8'],
};

/** Wider dtypes by preference. */
const carriers: Readonly<Partial<Record<DType, readonly DType[]>>> = {
  bool: ['uint8', 'int32', 'float32'],
  int8: ['int32', 'float32'],
  uint8: ['int32', 'float32'],
  int16: ['int32', 'float32'],
  uint16: ['int32', 'float32'],
  int32: ['int64', 'float64'],
  uint32: ['int64', 'float64'],
  bfloat16: ['float32'],
};

/** Whether ONNX Runtime has a kernel of an operator for a dtype. */
export function isHeldBy(op: string, dtype: DType): boolean {
  return kernels[op]?.includes(dtype) ?? true;
}

/** A dtype of an operator's kernels that holds every value of another; undefined when there is none. */
export function carrierOf(op: string, dtype: DType): DType | undefined {
  return carriers[dtype]?.find((carrier) => isHeldBy(op, carrier));
}

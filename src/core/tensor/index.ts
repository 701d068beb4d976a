export { buffersOf } from './buffers.ts';
export {
  bytesPerElement,
  createData,
  type DType,
  type DTypeData,
  dataFromBytes,
  dtypes,
  isDType,
  itemsPerElement,
  type NumericDType,
} from './dtype.ts';
export { float16ToNumber, numberToFloat16 } from './float16.ts';
export { assertRows, joinRows, type PartOfRows, rowsOf, sharedRows, sliceRows } from './rows.ts';
export { type AnyTensor, createTensor, elementCount, isShapeCompatible, isTensorOf, type Tensor, type TensorMap } from './tensor.ts';

export type { OnnxPrecision, OnnxProblem } from './convert.ts';
export { isOnnxModel, type OnnxInitializer, type OnnxModel, type OnnxOperator, parseOnnxModel } from './model.ts';
export { type OnnxOutline, type OnnxOutlineNode, type OnnxOutlineWeight, readOnnxOutline } from './outline.ts';
export { quantizeOnnx } from './quantize.ts';
export { type OnnxSource, readOnnx } from './read.ts';
export { checkOnnxOps, writeOnnx } from './write.ts';

export type { OnnxPrecision, OnnxProblem } from './convert.ts';
export { isOnnxModel, type OnnxInitializer, type OnnxModel, parseOnnxModel } from './model.ts';
export { checkOnnxOps, writeOnnx } from './write.ts';

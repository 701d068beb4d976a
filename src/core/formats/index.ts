export type { ModelTensor } from './model-tensor.ts';
export * from './onnx/index.ts';
export { inferShapes, type OptimizeOptions, optimize, type ShapeTable } from './passes/index.ts';
export { decodeSafetensors, encodeSafetensors } from './safetensors.ts';
export * from './savedmodel/index.ts';
export * from './tfjs/index.ts';

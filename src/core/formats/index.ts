export type { ModelTensor } from './model-tensor.ts';
export * from './onnx/index.ts';
export { decodeSafetensors, encodeSafetensors } from './safetensors.ts';
export * from './savedmodel/index.ts';
export * from './tfjs/index.ts';

export { isHdf5, isKerasArchive, isLayersModel, readKeras } from './keras/index.ts';
export type { ModelTensor } from './model-tensor.ts';
export * from './onnx/index.ts';
export { describePyTorch, isHuggingFaceFolder, isTensorFlowLite, refusalOf, refusalOfFolder } from './pytorch.ts';
export { decodeSafetensors, encodeSafetensors } from './safetensors.ts';
export * from './tfjs/index.ts';

export type { ModelTensor } from './model-tensor.ts';
export { isOnnxModel, type OnnxInitializer, type OnnxModel, parseOnnxModel } from './onnx/model.ts';
export { decodeSafetensors, encodeSafetensors } from './safetensors.ts';
export {
  encodeTfjsGraphModel,
  isTfjsModel,
  locateTfjsWeights,
  parseTfjsGraphModel,
  type TfjsGraphModel,
  type TfjsWeight,
} from './tfjs/graph-model.ts';

export { decodeExample, type ExampleFeature, encodeExample } from './example.ts';
export * from './graph/index.ts';
export { isHdf5, isKerasArchive, isLayersModel, readKeras } from './keras/index.ts';
export type { EmittedBindings, EmittedFile, EmittedModel, ModelFile, ModelFolder } from './model-folder.ts';
export type { ModelTensor } from './model-tensor.ts';
export * from './onnx/index.ts';
export {
  inferShapes,
  type OptimizeOptions,
  optimize,
  type PrunedGraph,
  pruneWeights,
  type ShapeTable,
  shareInputs,
} from './passes/index.ts';
export { describePyTorch, isHuggingFaceFolder, isTensorFlowLite, refusalOf, refusalOfFolder } from './pytorch.ts';
export { type FoundModel, findModel, type ModelFormat, readModelGraph } from './read-model.ts';
export { decodeSafetensors, encodeSafetensors } from './safetensors.ts';
export * from './savedmodel/index.ts';
export { tensorflowTypes } from './tensorflow-types.ts';
export * from './tfjs/index.ts';

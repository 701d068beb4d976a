export { isOnnxModel, type OnnxInitializer, type OnnxModel, parseOnnxModel } from './model.ts';

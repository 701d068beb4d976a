export {
  type Classification,
  type ClassificationOptions,
  decodeClassification,
  encodeImages,
  imageClassification,
  prepareImage,
} from './image-classification.ts';
export { type TaskSpecs, taskOf } from './task-of.ts';

export {
  type Classification,
  decodeClassification,
  encodeImages,
  imageClassification,
  prepareImage,
} from './image-classification.ts';
export { taskOf } from './task-of.ts';

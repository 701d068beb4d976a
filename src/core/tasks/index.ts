export {
  type Classification,
  decodeClassification,
  encodeImages,
  imageClassification,
  prepareImage,
  toPrepared,
} from './image-classification.ts';
export { taskOf } from './task-of.ts';

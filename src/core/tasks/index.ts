export type { TopKOptions } from './classes.ts';
export { assertFiniteInput } from './finite-input.ts';
export {
  type Classification,
  decodeClassification,
  encodeImages,
  imageClassification,
  prepareImage,
  toPrepared,
} from './image-classification.ts';
export type { OpenedTasks } from './open-task/index.ts';
export type { Detection, DetectionOptions, PreparedPicture, Segmentation } from './picture/index.ts';
export type { Row } from './table/index.ts';
export type { EncodedBatch, OpenedTask, TaskSource } from './task.ts';
export { type PictureTask, type TaskManifest, takesPicture, taskOf } from './task-of.ts';

// Loaded by the first picture for a task other than image classification.
export { pictureInputOf, preparePicture } from '../../core/tasks/picture/index.ts';

export { openImageSegmentation, type Segmentation } from './image-segmentation.ts';
export { openImageToImage } from './image-to-image.ts';
export { type Detection, type DetectionOptions, openObjectDetection } from './object-detection.ts';
export { type PreparedPicture, pictureInputOf, preparePicture } from './whole-picture.ts';

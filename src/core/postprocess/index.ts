export { type Activation, activate, sigmoid, softmax } from './activation.ts';
export { type BoxFormat, toCorners } from './box-format.ts';
export { parseLabels } from './labels.ts';
export { argMax, type ClassMask, type MaskRegion, resizeNearest } from './mask.ts';
export { meanOfRows, normaliseLength } from './pooling.ts';
export { type Corners, type SuppressionOptions, suppressNonMax } from './suppression.ts';
export { topK } from './top-k.ts';

export { TensorBoard } from './tensorboard.ts';

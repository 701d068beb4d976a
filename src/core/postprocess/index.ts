export { type Activation, activate, sigmoid, softmax } from './activation.ts';
export { parseLabels } from './labels.ts';
export { topK } from './top-k.ts';

export { backendCode } from './backends.ts';
export { openTfjsEngine } from './engine.ts';

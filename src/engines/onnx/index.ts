export { openOnnxEngine } from './engine.ts';

export { openTfjsEngine } from './engine.ts';

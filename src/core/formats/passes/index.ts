export { evaluateNode, isEvaluable } from './evaluate/index.ts';
export { type OptimizeOptions, optimize } from './optimize.ts';
export { inferShapes, type ShapeTable } from './shapes/index.ts';

export { evaluateNode, isEvaluable } from './evaluate/evaluate-node.ts';
export { type OptimizeOptions, optimize } from './optimize.ts';
export { inferShapes, type ShapeTable } from './shapes/infer-shapes.ts';
export type { Known } from './shapes/known.ts';

export { engineDependentOps } from './evaluate/elementwise.ts';
export { evaluateNode, isEvaluable } from './evaluate/evaluate-node.ts';
export { inferShapes, type ShapeTable } from './shapes/infer-shapes.ts';
export type { Known } from './shapes/known.ts';

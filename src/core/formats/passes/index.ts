export { evaluateNode, isEvaluable } from './evaluate/index.ts';
export { type OptimizeOptions, optimize } from './optimize.ts';
export { type PrunedGraph, pruneWeights } from './prune.ts';
export { inferShapes, type ShapeTable } from './shapes/index.ts';
export { shareInputs } from './share-inputs.ts';

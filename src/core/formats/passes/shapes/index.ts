export { hasRule, inferShapes, type ShapeTable } from './infer-shapes.ts';
export { type Known, RuleInputs } from './known.ts';

export { squeezeAxes } from './arrays.ts';
export { fromBigints, isBigDType, isFloatDType, isNumberDType, numbersOf, scalarOf, stridesOf, tensorOf } from './elements.ts';
export { engineDependentOps } from './elementwise.ts';
export { evaluateNode, isEvaluable, isLayer } from './evaluate-node.ts';

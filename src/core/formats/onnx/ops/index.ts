import type { Converter } from '../operator.ts';
import { controlFlow } from './control-flow.ts';
import { convolutions } from './convolutions.ts';
import { elementwiseOperators } from './elementwise.ts';
import { gatheringOperators } from './gathering.ts';
import { tensorLists } from './lists.ts';
import { matrixOperators } from './matrices.ts';
import { reductionOperators } from './reductions.ts';
import { resizingOperators } from './resizing.ts';
import { shapingOperators } from './shaping.ts';
import { slicingOperators } from './slicing.ts';

/** How TensorFlow's operators are written in ONNX. */
export const converters: ReadonlyMap<string, Converter> = new Map(
  [
    elementwiseOperators,
    convolutions,
    matrixOperators,
    reductionOperators,
    shapingOperators,
    slicingOperators,
    gatheringOperators,
    resizingOperators,
    controlFlow,
    tensorLists,
  ].flatMap((table) => Object.entries(table)),
);

/** Operators that keep float32 in a float16 model: what they compute overflows (squares, powers, sums) or loses too much (exponentials). */
export const wideOperators: ReadonlySet<string> = new Set([
  'Exp',
  'Expm1',
  'Log',
  'Log1p',
  'Pow',
  'Rsqrt',
  'Square',
  'SquaredDifference',
  'Softplus',
  'Softmax',
  'LogSoftmax',
  'Sum',
  'Mean',
  'Prod',
  'EuclideanNorm',
  'Cumsum',
  'Range',
  'LRN',
  'FusedBatchNorm',
  'FusedBatchNormV2',
  'FusedBatchNormV3',
  'Cast',
  'Erfc',
  'IsInf',
  'IsFinite',
  'Xlogy',
  'Xlog1py',
  // ONNX Runtime adds into no float16 on the CPU.
  'ScatterNd',
  'TensorScatterAdd',
  'TensorScatterMax',
  'TensorScatterMin',
  'NonMaxSuppressionV2',
  'NonMaxSuppressionV3',
  'NonMaxSuppressionV4',
  'NonMaxSuppressionV5',
]);

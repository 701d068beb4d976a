export { customTfjsOps } from './custom-ops.ts';
export { type DecodedTfjsWeights, decodeTfjsWeights } from './decode-weights.ts';
export {
  encodeTfjsGraphModel,
  isTfjsModel,
  locateTfjsWeights,
  parseTfjsGraphModel,
  quantizationOf,
  type TfjsGraphModel,
  type TfjsWeight,
} from './graph-model.ts';
export { readTfjsGraph } from './read.ts';
export { readTfjsWeights } from './read-weights.ts';
export { checkTfjsOps, type TfjsWriteOptions, writeTfjsGraph } from './write.ts';

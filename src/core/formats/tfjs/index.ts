export { customTfjsOps } from './custom-ops.ts';
export {
  encodeTfjsGraphModel,
  isTfjsModel,
  locateTfjsWeights,
  parseTfjsGraphModel,
  type TfjsGraphModel,
  type TfjsWeight,
} from './graph-model.ts';
export { checkTfjsOps, type TfjsWriteOptions, writeTfjsGraph } from './write.ts';

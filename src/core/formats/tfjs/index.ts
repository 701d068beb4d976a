export {
  encodeTfjsGraphModel,
  isTfjsModel,
  locateTfjsWeights,
  parseTfjsGraphModel,
  type TfjsGraphModel,
  type TfjsWeight,
} from './graph-model.ts';

export { parseEquation } from './einsum.ts';
export {
  broadcastShapes,
  isStatic,
  refineShape,
  resolveAxis,
  samePadding,
  unknownOfRank,
  widenShape,
  windowOutputSize,
} from './partial-shape.ts';
export { planStridedSlice } from './slices.ts';

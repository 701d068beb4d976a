export { type Equation, parseEquation } from './einsum.ts';
export {
  broadcastShapes,
  isStatic,
  refineShape,
  resolveAxis,
  samePadding,
  unknownOfRank,
  type Window,
  widenShape,
  windowOutputSize,
} from './partial-shape.ts';
export { planStridedSlice, type StridedSlicePlan } from './slices.ts';

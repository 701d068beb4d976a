export * as attribute from './attributes.ts';
export { byteLengthOf, constNode, toConstant } from './constant.ts';
export {
  type Attribute,
  type Attributes,
  type Constant,
  type Edge,
  type GraphDType,
  type GraphFunction,
  type GraphNode,
  type GraphSignature,
  type ModelGraph,
  type Nodes,
  type PartialShape,
  type SignatureInput,
  type SignatureOutput,
  SMALL_CONSTANT_BYTES,
} from './graph.ts';
export { consumersOf, edgeKey, reachable, sortNodes, sourceOf } from './nodes.ts';
export { withoutSignatures } from './signatures.ts';

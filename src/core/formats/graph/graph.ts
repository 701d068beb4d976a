import type { AnyTensor, DType } from '../../tensor/index.ts';

// The one graph that every reader makes and every writer takes: nodes with the operators of TensorFlow
// (tensorflow/core/ops, NHWC unless a node says otherwise), typed constants that are read when they are needed, and
// signatures. Passes take a graph and give a new one; nodes are never changed in place.

/** Types a tensor of a graph can have; tables, variables and lists are handles. */
export type GraphDType = DType | 'resource' | 'variant';

/** One size per axis, -1 for any; undefined when not even the rank is known. */
export type PartialShape = readonly number[] | undefined;

/** One output of a node. */
export interface Edge {
  readonly node: string;
  readonly index: number;
}

/**
 * A tensor of the model file, read when it is needed and not kept. The same object stands for the same bytes, so that a weight used in
 * several places is written once; a pass that changes a weight makes a new one that reads the old one (`load: async () => scale(await …)`).
 */
export interface Constant {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Length in bytes; of strings, of their contents as far as known. Constants of at most `SMALL_CONSTANT_BYTES` may be looked into freely. */
  readonly byteLength: number;
  /** @throws {NearfarError} `integrity-mismatch` when its checksum is wrong, `invalid-argument` when it is damaged. */
  load(): Promise<AnyTensor>;
}

/** Shapes, axes, scalars: what passes read to decide something. */
export const SMALL_CONSTANT_BYTES = 64 * 2 ** 10;

export type Attribute =
  /** `bytes` where they are no UTF-8: `value` then shows them as well as it can. */
  | { readonly kind: 'string'; readonly value: string; readonly bytes?: Uint8Array }
  /** An int64 beyond 2^53 is rounded: none that a kernel here reads is so large. */
  | { readonly kind: 'int'; readonly value: number }
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'bool'; readonly value: boolean }
  | { readonly kind: 'type'; readonly value: GraphDType }
  | { readonly kind: 'shape'; readonly value: PartialShape }
  | { readonly kind: 'tensor'; readonly value: Constant }
  /** Name of a function among `ModelGraph.functions`. */
  | { readonly kind: 'function'; readonly value: string }
  | { readonly kind: 'list'; readonly value: readonly Attribute[] };

export type Attributes = Readonly<Record<string, Attribute>>;

/**
 * One operator. Special ones:
 * - `Placeholder` (attributes `dtype`, `shape`): an input of a signature; one placeholder may serve several signatures.
 * - `Const` (attributes `dtype`, `value`): a constant; never an input by variable, all variables are constants already.
 * - `HashTableV2` (attributes `key_dtype`, `value_dtype`, and the tensors `keys` and `values`): a table with its content.
 * - `While`, `StatelessWhile`, `If`, `StatelessIf`, `Case`: functional control flow with functions of `ModelGraph.functions`, whose
 *   captured weights are constants inside the function. `Switch`, `Merge`, `Enter`, `Exit`, `NextIteration`, `LoopCond`: TensorFlow 1's,
 *   the only cycles there are (they go through a `NextIteration`).
 * - `_Arg` (attributes `T`, `index`): the arguments inside a function.
 * - `_FusedConv2D`, `FusedDepthwiseConv2dNative`, `_FusedMatMul` (attributes `fused_ops`, `num_args`, `epsilon`, `leakyrelu_alpha`): what
 *   fusion makes; bias and activation as TensorFlow's remapper writes them.
 */
export interface GraphNode {
  readonly name: string;
  readonly op: string;
  readonly inputs: readonly Edge[];
  /** Nodes that must run before; kept only where TensorFlow 1's control flow needs them. */
  readonly controls: readonly string[];
  readonly attributes: Attributes;
}

/** Nodes by name; in no particular order, so sort them (`sortNodes`) where order matters. */
export type Nodes = ReadonlyMap<string, GraphNode>;

/** The body of a control-flow operator, or its condition. Arguments are its `_Arg` nodes, in the order of `inputs`. */
export interface GraphFunction {
  readonly inputs: readonly string[];
  readonly outputs: readonly Edge[];
  readonly nodes: Nodes;
}

export interface SignatureInput {
  /** Name of the placeholder. */
  readonly node: string;
  readonly dtype: DType;
  readonly shape: PartialShape;
}

export interface SignatureOutput {
  readonly edge: Edge;
  readonly dtype: DType;
  readonly shape: PartialShape;
}

export interface GraphSignature {
  readonly method: 'predict' | 'classify' | 'regress';
  readonly inputs: Readonly<Record<string, SignatureInput>>;
  readonly outputs: Readonly<Record<string, SignatureOutput>>;
}

/** A model with all its signatures, weights bound, everything no signature needs cut away. */
export interface ModelGraph {
  readonly nodes: Nodes;
  readonly functions: ReadonlyMap<string, GraphFunction>;
  /** Those that can be run, in order of their names. */
  readonly signatures: Readonly<Record<string, GraphSignature>>;
  /** Why the others cannot: every reason of a signature, each with operator and node. */
  readonly unusable: Readonly<Record<string, readonly string[]>>;
}

import type { EmittedFile, ModelGraph, ModelTensor, PrunedGraph, Signature, Variant } from '../core/index.ts';

/** The one signature a GraphModel or an ONNX file has, under the name TensorFlow gives it. */
export const SIGNATURE = 'serving_default';

/** A file of a version before it is published: read in parts, as often as needed, and never in memory as a whole unless an engine asks. */
export type SourceFile = EmittedFile;

/** A tensor of a source, with its layout where that is not the signature's. */
export interface SourceTensor extends ModelTensor {
  readonly layout?: 'NCHW' | undefined;
}

/** The graph's own tensors by the names the source gives them. */
export interface SourceSignature {
  readonly method: Signature['method'];
  readonly inputs: Readonly<Record<string, SourceTensor>>;
  readonly outputs: Readonly<Record<string, SourceTensor>>;
}

/** What becomes one variant: a model file as it is, or one that was written from the graph of another format. */
export interface Source {
  /** Format of the files it came from. */
  readonly origin: string;
  /** The graph it was written from, absent for a file as it is; sources of one graph have the same names. */
  readonly graph?: ModelGraph | undefined;
  readonly format: 'tfjs-graph' | 'onnx';
  readonly precision: Variant['precision'];
  /** At least one. */
  readonly signatures: Readonly<Record<string, SourceSignature>>;
  readonly ops: readonly string[];
  /** Name of the entry among `files`. */
  readonly entry: string;
  /** By name inside the variant's folder. */
  readonly files: ReadonlyMap<string, SourceFile>;
  /** True for what is only there to be measured against, and is not published. */
  readonly isHidden?: boolean | undefined;
  /** What the files would be without pruning, for a pruned source. */
  readonly unpruned?: ReadonlyMap<string, SourceFile> | undefined;
  /** What pruning did to the graph's weights. */
  readonly pruning?: Pick<PrunedGraph, 'weights' | 'elements' | 'zeros'> | undefined;
  /** Digest of each original file, by its name beside the source. */
  readonly originals: Readonly<Record<string, string>>;
}

import type { GraphDType, PartialShape } from '../graph/index.ts';
import type { ModelFolder } from '../model-folder.ts';
import { dtypeOfNumber } from './data-types.ts';
import { assetsOf, readMetaGraphs } from './saved-model.ts';
import type { TensorInfo } from './schema.ts';
import { partialShape } from './tensor.ts';
import { warmupPath } from './tf-record.ts';

/** A tensor as the SavedModel itself describes it. */
export interface SavedModelTensor {
  /** Name in TensorFlow, such as `x:0`; empty for one of several parts (sparse, composite). */
  readonly name: string;
  /** Undefined for a type without a dtype here. */
  readonly dtype: GraphDType | undefined;
  readonly shape: PartialShape;
}

export interface SavedModelSignature {
  readonly methodName: string;
  readonly inputs: Readonly<Record<string, SavedModelTensor>>;
  readonly outputs: Readonly<Record<string, SavedModelTensor>>;
}

/** One graph of a SavedModel, as it is written: nothing is checked against the graph. */
export interface SavedModelGraph {
  readonly tags: readonly string[];
  readonly tensorflowVersion: string;
  readonly signatures: Readonly<Record<string, SavedModelSignature>>;
  /** Paths of the files that the graph reads, such as vocabularies. */
  readonly assets: readonly string[];
}

export interface SavedModelDescription {
  readonly graphs: readonly SavedModelGraph[];
  /** Path of the warm-up records of TensorFlow Serving (`readTfRecords` reads them); undefined without them. */
  readonly warmup: string | undefined;
}

/**
 * What a SavedModel says about itself, for metadata and to choose tags by.
 * @throws {NearfarError} `invalid-argument` when it is damaged.
 */
export async function describeSavedModel(folder: ModelFolder): Promise<SavedModelDescription> {
  const graphs = await readMetaGraphs(folder);
  return {
    graphs: graphs.map((graph) => ({
      tags: graph.meta_info_def?.tags ?? [],
      tensorflowVersion: graph.meta_info_def?.tensorflow_version ?? '',
      signatures: sortedRecord(graph.signature_def, ({ method_name: methodName, inputs, outputs }) => ({
        methodName,
        inputs: sortedRecord(inputs, describe),
        outputs: sortedRecord(outputs, describe),
      })),
      assets: assetsOf(graph)
        .map(({ filename }) => `assets/${filename}`)
        .sort(),
    })),
    warmup: folder.has(warmupPath) ? warmupPath : undefined,
  };
}

function describe({ name, dtype, tensor_shape: shape }: TensorInfo): SavedModelTensor {
  return { name, dtype: dtypeOfNumber(dtype), shape: partialShape(shape) };
}

function sortedRecord<T, U>(map: ReadonlyMap<string, T>, convert: (value: T) => U): Record<string, U> {
  return Object.fromEntries([...map].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, value]) => [key, convert(value)]));
}

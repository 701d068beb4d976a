import type { io } from '@tensorflow/tfjs-core';
import * as v from 'valibot';
import { decodeTfjsWeights, NearfarError, type VariantSource } from '../../core/index.ts';
import type { GraphNode } from './graph-ops.ts';

const objectSchema = v.custom<Record<string, object>>((value) => typeof value === 'object' && value !== null);
const nodeSchema = v.looseObject({ name: v.string(), op: v.string() });
const weightSchema = v.custom<io.WeightsManifestEntry>(
  (value) => typeof value === 'object' && value !== null && 'name' in value && 'shape' in value && 'dtype' in value,
);
const tensorsSchema = v.record(v.string(), v.looseObject({ name: v.optional(v.string()) }));
const signatureSchema = v.looseObject({ inputs: v.optional(tensorsSchema), outputs: v.optional(tensorsSchema) });

const modelSchema = v.looseObject({
  format: v.optional(v.literal('graph-model')),
  modelTopology: v.looseObject({
    node: v.array(nodeSchema),
    library: v.optional(v.looseObject({ function: v.optional(v.array(v.looseObject({ nodeDef: v.optional(v.array(nodeSchema)) }))) })),
  }),
  weightsManifest: v.array(v.looseObject({ paths: v.array(v.string()), weights: v.array(weightSchema) })),
  signature: v.optional(signatureSchema),
  userDefinedMetadata: v.optional(objectSchema),
  modelInitializer: v.optional(v.looseObject({ node: v.optional(v.array(nodeSchema)) })),
  initializerSignature: v.optional(v.looseObject({})),
});

/** A GraphModel read from the files of a variant. */
export interface GraphModelFiles {
  readonly artifacts: io.ModelArtifacts & { weightData?: ArrayBuffer[] };
  /** Every node: of the graph, of its functions and of its initializer. */
  readonly nodes: readonly GraphNode[];
  /** Name of a node for a name of the model's own signature; any other name is a node's already. */
  readonly inputNode: (name: string) => string;
  readonly outputNode: (name: string) => string;
}

/**
 * Reads model.json and the weight files it names, in order, from the variant's verified files and from nowhere else.
 * @throws {NearfarError} `unsupported` when the entry is no GraphModel, `not-found` when a weight file is not among the variant's files.
 */
export async function readGraphModel({ variant, readFile }: VariantSource): Promise<GraphModelFiles> {
  const model = parseModel(variant.entry, await readFile(variant.entry));
  const shards: ArrayBuffer[] = [];
  for (const path of model.weightsManifest.flatMap(({ paths }) => paths)) {
    shards.push(wholeBuffer(await readFile(besideEntry(variant, path))));
  }
  const { specs: weightSpecs, buffers: weightData } = decodeTfjsWeights(
    model.weightsManifest.flatMap(({ weights }) => weights),
    shards,
  );
  const { modelTopology, modelInitializer, initializerSignature, userDefinedMetadata } = model;
  // Converters before 3.0 wrote the signature here; tfjs prefers it too.
  const oldSignature = v.safeParse(signatureSchema, userDefinedMetadata?.['signature']);
  const signature = oldSignature.success ? oldSignature.output : model.signature;
  return {
    artifacts: {
      modelTopology,
      weightSpecs,
      weightData,
      ...(signature && { signature }),
      ...(userDefinedMetadata && { userDefinedMetadata }),
      ...(modelInitializer && { modelInitializer }),
      ...(initializerSignature && { initializerSignature }),
    },
    nodes: [
      ...modelTopology.node,
      ...(modelTopology.library?.function ?? []).flatMap(({ nodeDef }) => nodeDef ?? []),
      ...(modelInitializer?.node ?? []),
    ],
    inputNode: (name) => signature?.inputs?.[name]?.name ?? name,
    outputNode: (name) => signature?.outputs?.[name]?.name ?? name,
  };
}

function parseModel(path: string, bytes: Uint8Array): v.InferOutput<typeof modelSchema> {
  const refuse = (message: string, cause?: unknown): never => {
    throw new NearfarError('unsupported', `${path} is no TensorFlow.js GraphModel: ${message}`, { cause, details: { path } });
  };
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    return refuse('it is no JSON', cause);
  }
  const parsed = v.safeParse(modelSchema, value);
  return parsed.success ? parsed.output : refuse(`${v.getDotPath(parsed.issues[0]) ?? 'the document'}: ${parsed.issues[0].message}`);
}

function besideEntry({ entry, files, id }: VariantSource['variant'], path: string): string {
  const full = entry.slice(0, entry.lastIndexOf('/') + 1) + path;
  if (files.includes(full)) return full;
  throw new NearfarError('not-found', `variant ${id} needs the weight file ${full}, which is not among its files`, {
    details: { variant: id, file: full },
  });
}

function wholeBuffer(bytes: Uint8Array<ArrayBuffer>): ArrayBuffer {
  return bytes.byteLength === bytes.buffer.byteLength ? bytes.buffer : bytes.slice().buffer;
}

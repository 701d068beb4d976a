import { readFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import type { InferenceSession } from 'onnxruntime-common';
import {
  type Attribute,
  type Constant,
  type GraphFunction,
  type GraphNode,
  type ModelGraph,
  toConstant,
} from '../../src/core/formats/graph/index.ts';
import type { EmittedModel } from '../../src/core/formats/model-folder.ts';
import { type AnyTensor, createTensor, type DType, dataFromBytes, type NumericDType, type TensorMap } from '../../src/core/index.ts';
import { fromOrt, toOrt } from '../../src/engines/onnx/tensors.ts';

// Graphs of test/fixtures/onnx with what TensorFlow answers, and a way to run what is written of them.

interface TensorJson {
  readonly dtype: NumericDType;
  readonly shape: readonly number[];
  readonly data: string;
}

type EdgeJson = readonly [node: string, index: number];

interface AttributeJson {
  readonly kind: string;
  readonly value: unknown;
}

interface NodeJson {
  readonly name: string;
  readonly op: string;
  readonly inputs: readonly EdgeJson[];
  readonly attributes: Readonly<Record<string, AttributeJson>>;
}

interface CaseJson {
  readonly name: string;
  readonly nodes: readonly NodeJson[];
  readonly functions: Readonly<Record<string, { inputs: readonly string[]; outputs: readonly EdgeJson[]; nodes: readonly NodeJson[] }>>;
  readonly inputs: Readonly<Record<string, TensorJson>>;
  readonly declared: Readonly<Record<string, readonly number[] | null>>;
  readonly outputs: readonly { readonly edge: EdgeJson; readonly expected: TensorJson }[];
  readonly tolerance?: number;
}

/** A graph, inputs for its one signature, and TensorFlow's outputs. */
export interface GraphCase {
  readonly name: string;
  readonly model: ModelGraph;
  readonly inputs: TensorMap;
  readonly expected: TensorMap;
  readonly tolerance: number;
}

export async function readGraphCases(): Promise<GraphCase[]> {
  const packed = await readFile(new URL('../fixtures/onnx/graphs.json.gz', import.meta.url));
  return (JSON.parse(gunzipSync(packed).toString()) as CaseJson[]).map(toCase);
}

function toCase(json: CaseJson): GraphCase {
  const constants = new Map<string, Constant>();
  const inputs = Object.fromEntries(Object.entries(json.inputs).map(([name, tensor]) => [name, toTensor(tensor)]));
  const outputs = json.outputs.map(({ edge, expected }, index) => [`y${index}`, edge, toTensor(expected)] as const);
  return {
    name: json.name,
    model: {
      nodes: toNodes(json.nodes, constants),
      functions: new Map(Object.entries(json.functions).map(([name, body]) => [name, toFunction(body, constants)])),
      signatures: {
        serving_default: {
          method: 'predict',
          inputs: Object.fromEntries(
            Object.entries(inputs).map(([node, { dtype }]) => [node, { node, dtype, shape: json.declared[node] ?? undefined }]),
          ),
          outputs: Object.fromEntries(
            outputs.map(([name, [node, index], tensor]) => [name, { edge: { node, index }, dtype: tensor.dtype, shape: undefined }]),
          ),
        },
      },
      unusable: {},
    },
    inputs,
    expected: Object.fromEntries(outputs.map(([name, , tensor]) => [name, tensor])),
    tolerance: json.tolerance ?? 1e-5,
  };
}

function toNodes(nodes: readonly NodeJson[], constants: Map<string, Constant>): ReadonlyMap<string, GraphNode> {
  return new Map(
    nodes.map(({ name, op, inputs, attributes }) => [
      name,
      {
        name,
        op,
        inputs: inputs.map(([node, index]) => ({ node, index })),
        controls: [],
        attributes: Object.fromEntries(Object.entries(attributes).map(([key, value]) => [key, toAttribute(value, constants)])),
      },
    ]),
  );
}

function toFunction({ inputs, outputs, nodes }: CaseJson['functions'][string], constants: Map<string, Constant>): GraphFunction {
  return { inputs, outputs: outputs.map(([node, index]) => ({ node, index })), nodes: toNodes(nodes, constants) };
}

function toAttribute({ kind, value }: AttributeJson, constants: Map<string, Constant>): Attribute {
  if (kind === 'list') return { kind, value: (value as AttributeJson[]).map((item) => toAttribute(item, constants)) };
  if (kind === 'shape') return { kind, value: (value as number[] | null) ?? undefined };
  if (kind !== 'tensor') return { kind, value } as Attribute; // as make.py wrote it
  const key = JSON.stringify(value);
  const constant = constants.get(key) ?? toConstant(toTensor(value as TensorJson));
  constants.set(key, constant);
  return { kind, value: constant };
}

function toTensor({ dtype, shape, data }: TensorJson): AnyTensor {
  return createTensor(dtype, shape, dataFromBytes(dtype, new Uint8Array(Buffer.from(data, 'base64')))) as AnyTensor;
}

/** All bytes of the entry of a written model. */
export async function bytesOf({ files, entry }: EmittedModel): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  for await (const part of files.get(entry)!.read()) parts.push(part);
  return new Uint8Array(Buffer.concat(parts));
}

export const ort = await import('onnxruntime-node').catch(() => import('onnxruntime-web'));

/** Runs one signature of a written model in ONNX Runtime on one thread. */
export async function runOnnx(emitted: EmittedModel, inputs: TensorMap, dtypes: Readonly<Record<string, DType>>): Promise<TensorMap> {
  const session = await openSession(await bytesOf(emitted));
  const [bindings] = Object.values(emitted.bindings);
  const feeds = Object.entries(bindings!.inputs).map(([name, { tensor }]) => [tensor, toOrt(ort, name, inputs[name]!)] as const);
  const results = await session.run(Object.fromEntries(feeds));
  const outputs = Object.entries(bindings!.outputs).map(
    ([name, { tensor }]) => [name, fromOrt(name, dtypes[name]!, results[tensor]!)] as const,
  );
  await session.release();
  return Object.fromEntries(outputs);
}

export async function openSession(bytes: Uint8Array): Promise<InferenceSession> {
  return ort.InferenceSession.create(bytes, { intraOpNumThreads: 1, interOpNumThreads: 1, logSeverityLevel: 3 });
}

import { NearfarError } from '../../errors.ts';
import type { ModelGraph } from '../graph/index.ts';
import type { EmittedFile, EmittedModel } from '../model-folder.ts';
import { convertModel, type OnnxPrecision, type OnnxProblem } from './convert.ts';
import { concatBytes, encodeGraph, encodeMessage, encodePrefix, encodeTensorHead, type OnnxGraph } from './encode.ts';
import type { Initializer } from './graph-builder.ts';
import { readRaw } from './weights.ts';

// Read by ONNX Runtime 1.14 and later, the first with BitwiseAnd, axes of Resize and axes of all reductions as inputs.
const OPSET = 18;
const IR_VERSION = 8;
/** Of a protobuf message. */
const MAX_BYTES = 2 ** 31 - 1;

/**
 * What of a model cannot be written as ONNX; empty when `writeOnnx` will do. Only what its signatures need counts, so that a model with
 * some of its signatures left out may do where the whole does not.
 * @throws {NearfarError} `unsupported` when the signatures have different inputs.
 */
export async function checkOnnxOps(model: ModelGraph): Promise<readonly OnnxProblem[]> {
  return (await convertModel(model, 'float32')).problems;
}

/**
 * Writes a model as one ONNX file (opset 18, standard operators alone), whose weights are read one at a time while it is.
 * @param options.precision `float16` computes in float16 where that does no harm, with the inputs and outputs of the model as they are;
 * `uint8` stores weights in 8 bits per channel and computes in float32.
 * @throws {NearfarError} `unsupported`, listing every operator and node without a form in ONNX; also for signatures with different inputs
 * and for models of 2 GiB.
 */
export async function writeOnnx(model: ModelGraph, { precision }: { readonly precision: OnnxPrecision }): Promise<EmittedModel> {
  const { graph, initializers, bindings, problems } = await convertModel(model, precision);
  assertExpressible(problems);
  const file = encodeModel(graph, initializers);
  const ops = [...new Set(opsOf(graph))].sort();
  return { format: 'onnx', precision, entry: 'model.onnx', files: new Map([['model.onnx', file]]), bindings, ops };
}

function assertExpressible(problems: readonly OnnxProblem[]): void {
  if (problems.length === 0) return;
  const list = problems.map(({ op, node, reason }) => `${op} "${node}" ${reason}`).join('; ');
  throw new NearfarError('unsupported', `the model cannot be written as ONNX: ${list}`, {
    details: { format: 'onnx', problems: [...problems] },
  });
}

function opsOf({ nodes }: OnnxGraph): string[] {
  return nodes.flatMap(({ op, attributes }) => [
    op,
    ...Object.values(attributes).flatMap((value) => (typeof value === 'object' && 'graph' in value ? opsOf(value.graph) : [])),
  ]);
}

interface Part {
  readonly head: Uint8Array<ArrayBuffer>;
  readonly initializer: Initializer;
}

/** ModelProto: ir_version = 1, producer_name = 2, graph = 7, opset_import = 8. The graph comes last, and its weights last in it. */
function encodeModel(graph: OnnxGraph, initializers: readonly Initializer[]): EmittedFile {
  const parts = initializers.map((initializer): Part => {
    const { name, constant } = initializer;
    const tensor = encodeTensorHead(name, constant.dtype, constant.shape, constant.byteLength);
    return { head: concatBytes([encodePrefix(5, tensor.byteLength + constant.byteLength), tensor]), initializer };
  });
  const topology = encodeGraph(graph);
  const graphLength = parts.reduce(
    (sum, { head, initializer }) => sum + head.byteLength + initializer.constant.byteLength,
    topology.byteLength,
  );
  if (graphLength > MAX_BYTES - 1024) {
    throw new NearfarError('unsupported', `an ONNX file holds less than 2 GiB, this model has ${graphLength} bytes`, {
      details: { format: 'onnx', bytes: graphLength },
    });
  }
  const opset = encodeMessage([
    [1, ''],
    [2, OPSET],
  ]);
  const start = concatBytes([
    encodeMessage([
      [1, IR_VERSION],
      [2, 'nearfar'],
      [8, opset],
    ]),
    encodePrefix(7, graphLength),
    topology,
  ]);
  const tensors = placesOf(start.byteLength, parts);
  return { byteLength: start.byteLength + graphLength - topology.byteLength, tensors, read: () => readParts(start, parts) };
}

function placesOf(from: number, parts: readonly Part[]): { start: number; end: number }[] {
  let offset = from;
  return parts.map(({ head, initializer }) => {
    const start = offset + head.byteLength;
    offset = start + initializer.constant.byteLength;
    return { start, end: offset };
  });
}

async function* readParts(start: Uint8Array<ArrayBuffer>, parts: readonly Part[]): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  yield start;
  for (const { head, initializer } of parts) {
    yield head;
    const bytes = await readRaw(initializer.constant);
    const want = initializer.constant.byteLength;
    if (bytes.byteLength !== want) {
      throw new NearfarError('internal', `weight ${initializer.name} has ${bytes.byteLength} bytes, expected ${want}`);
    }
    if (want > 0) yield bytes;
  }
}

import { NearfarError } from '../../errors.ts';
import { createTensor, dataFromBytes, elementCount, type Tensor } from '../../tensor/index.ts';
import { type Constant, toConstant } from '../graph/index.ts';
import type { EmittedFile } from '../model-folder.ts';
import { dataTypeOf, onnxDTypes } from './data-types.ts';
import { encodeNode, encodeTensorHead, type OnnxNode } from './encode.ts';
import { parseOnnxModel } from './model.ts';
import { emitPieces, type Piece, replaceFields, withPrefix } from './rewrite.ts';
import { readTensorProto, type TensorProto } from './tensor-proto.ts';
import { castConstant, type QuantizedConstant, quantizeConstant, readRaw } from './weights.ts';
import { asDamaged, damaged, readBytes, readMessage, readNumber, readText } from './wire.ts';

/** Fewer elements are not worth it. */
const MIN_ELEMENTS = 1024;

/** Inputs that are weights, and the axis of their channels. */
const weightInputs: Readonly<Record<string, Readonly<Record<number, (rank: number, isTransposed: boolean) => number>>>> = {
  Conv: { 1: () => 0 },
  ConvTranspose: { 1: () => 1 },
  MatMul: { 0: (rank) => rank - 1, 1: (rank) => rank - 1 },
  Gemm: { 0: () => 1, 1: (_, isTransposed) => (isTransposed ? 0 : 1) },
  Gather: { 0: () => 0 },
};

/**
 * An ONNX file with the float32 weights of its convolutions, matrix products and embeddings stored in fewer bits; it computes in float32
 * as before, from weights that ONNX Runtime restores once when it loads the model. All else stays as it was, byte for byte.
 * @param precision `float16`, or `uint8` for 8 bits with a scale and an offset per channel.
 * @throws {NearfarError} `invalid-argument` when the file is damaged; `unsupported` for an operator set older than 7, and what
 * `parseOnnxModel` refuses.
 */
export function quantizeOnnx(bytes: Uint8Array, precision: 'float16' | 'uint8'): EmittedFile {
  const { opsets } = parseOnnxModel(bytes);
  const opset = opsets['ai.onnx'] ?? 0;
  if (opset < 7) {
    throw new NearfarError('unsupported', `weights are stored in ${precision} from operator set 7 on, the model has ${opset}`, {
      details: { format: 'onnx', opset },
    });
  }
  const weights = new Set<Piece>();
  const pieces = asDamaged(() =>
    replaceFields(bytes, (field, graph) => (field === 7 && graph ? withPrefix(7, quantizeGraph(graph, precision, weights)) : undefined)),
  );
  return emitPieces(pieces, (piece) => weights.has(piece));
}

function quantizeGraph(graph: Uint8Array, precision: 'float16' | 'uint8', weights: Set<Piece>): readonly Piece[] {
  const { targets, names } = findWeights(graph);
  const nodes: OnnxNode[] = [];
  const rest = replaceFields(graph, (field, content) => {
    if (!content) return undefined;
    // An initializer that is among the inputs too could be fed; a computed tensor cannot.
    if (field === 11) return targets.has(nameOf(content)) ? [] : undefined;
    const proto = field === 5 ? readTensorProto(content) : undefined;
    const axis = proto && targets.get(proto.name);
    if (!proto || axis === undefined) return undefined;
    const constant = toConstant(tensorOf(proto));
    const stored =
      precision === 'float16' ? asFloat16(proto.name, constant, names) : asBytes(proto.name, quantizeConstant(constant, axis), names);
    nodes.push(...stored.nodes);
    return stored.initializers.flatMap((initializer) => initializerPieces(initializer, weights));
  });
  // They are read by the others, and nodes are in the order in which they run.
  return [...nodes.flatMap((node) => withPrefix(1, [encodeNode(node)])), ...rest];
}

interface Stored {
  readonly initializers: readonly { readonly name: string; readonly constant: Constant }[];
  readonly nodes: readonly OnnxNode[];
}

function asFloat16(name: string, constant: Constant, names: Set<string>): Stored {
  const stored = unique(`${name}/float16`, names);
  return { initializers: [{ name: stored, constant: castConstant(constant, 'float16') }], nodes: [castNode(stored, name)] };
}

function asBytes(name: string, { bytes, scale, offset }: QuantizedConstant, names: Set<string>): Stored {
  const free = (part: string) => unique(`${name}/${part}`, names);
  const [stored, steps, low, wide, scaled] = [free('uint8'), free('scale'), free('offset'), free('wide'), free('scaled')];
  return {
    initializers: [
      { name: stored, constant: bytes },
      { name: steps, constant: scale },
      { name: low, constant: offset },
    ],
    nodes: [castNode(stored, wide), binaryNode('Mul', [wide, steps], scaled), binaryNode('Add', [scaled, low], name)],
  };
}

function castNode(input: string, output: string): OnnxNode {
  return { op: 'Cast', name: output, inputs: [input], outputs: [output], attributes: { to: dataTypeOf('float32') } };
}

function binaryNode(op: string, inputs: readonly string[], output: string): OnnxNode {
  return { op, name: output, inputs, outputs: [output], attributes: {} };
}

function unique(name: string, names: Set<string>): string {
  let free = name;
  for (let count = 1; names.has(free); count++) free = `${name}_${count}`;
  names.add(free);
  return free;
}

function initializerPieces({ name, constant }: Stored['initializers'][number], weights: Set<Piece>): readonly Piece[] {
  const data = { byteLength: constant.byteLength, read: () => readRaw(constant) };
  weights.add(data);
  return withPrefix(5, [encodeTensorHead(name, constant.dtype, constant.shape, constant.byteLength), data]);
}

/** The float32 initializers that are weights, with the axis of their channels, and all names in use. */
function findWeights(graph: Uint8Array): { targets: ReadonlyMap<string, number>; names: Set<string> } {
  const uses = new Map<string, (rank: number) => number>();
  const protos: TensorProto[] = [];
  const outputs = new Set<string>();
  const names = new Set<string>();
  readMessage(graph, (field, reader, type) => {
    if (field === 1) noteNode(readBytes(reader, type), uses, names);
    else if (field === 5) protos.push(readTensorProto(readBytes(reader, type)));
    else if (field === 11) names.add(nameOf(readBytes(reader, type)));
    else if (field === 12) outputs.add(nameOf(readBytes(reader, type)));
    else return false;
    return true;
  });
  const targets = new Map<string, number>();
  for (const { name, dataType, shape } of protos) {
    names.add(name);
    const axis = uses.get(name)?.(shape.length) ?? -1;
    const isWorthIt = onnxDTypes[dataType] === 'float32' && elementCount(shape) >= MIN_ELEMENTS;
    if (isWorthIt && shape.length > 1 && axis >= 0 && axis < shape.length && !outputs.has(name)) targets.set(name, axis);
  }
  return { targets, names };
}

/** NodeProto: input = 1, output = 2, op_type = 4, attribute = 5, domain = 7. */
function noteNode(bytes: Uint8Array, uses: Map<string, (rank: number) => number>, names: Set<string>): void {
  const inputs: string[] = [];
  let op = '';
  let domain = '';
  let isTransposed = false;
  readMessage(bytes, (field, reader, type) => {
    if (field === 1) inputs.push(readText(reader, type));
    else if (field === 2) names.add(readText(reader, type));
    else if (field === 4) op = readText(reader, type);
    else if (field === 5) isTransposed ||= isTransB(readBytes(reader, type));
    else if (field === 7) domain = readText(reader, type);
    else return false;
    return true;
  });
  const axes = (domain === '' || domain === 'ai.onnx') && Object.hasOwn(weightInputs, op) ? weightInputs[op] : undefined;
  for (const [index, name] of inputs.entries()) {
    names.add(name);
    const axis = axes?.[index];
    if (axis) uses.set(name, (rank) => axis(rank, isTransposed));
  }
}

/** AttributeProto: name = 1, i = 3. */
function isTransB(bytes: Uint8Array): boolean {
  let name = '';
  let value = 0;
  readMessage(bytes, (field, reader, type) => {
    if (field === 1) name = readText(reader, type);
    else if (field === 3) value = readNumber(reader, type);
    else return false;
    return true;
  });
  return name === 'transB' && value !== 0;
}

/** ValueInfoProto: name = 1. */
function nameOf(bytes: Uint8Array): string {
  let name = '';
  readMessage(bytes, (field, reader, type) => {
    if (field !== 1) return false;
    name = readText(reader, type);
    return true;
  });
  return name;
}

function tensorOf({ name, shape, raw, floats }: TensorProto): Tensor<'float32'> {
  const data = raw ? dataFromBytes('float32', raw) : Float32Array.from(floats ?? []);
  const isWhole = data.length === elementCount(shape) && (raw?.byteLength ?? 0) % 4 === 0;
  if (isWhole) return createTensor('float32', shape, data);
  throw damaged(`weight ${name} of the shape [${shape}] has ${raw?.byteLength ?? data.length * 4} bytes`);
}

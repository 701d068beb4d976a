import { NearfarError } from '../../errors.ts';
import type { ModelTensor } from '../model-tensor.ts';
import { onnxDTypes } from './data-types.ts';
import { asDamaged, damaged, readBytes, readMessage, readNumber, readText } from './wire.ts';

// A walk over an ONNX file (onnx/onnx.proto, IR version 3 and later) that keeps what publishing needs and copies no weight.
// Field numbers are those of the proto file.

/** Weights of the main graph that the file holds as raw bytes. */
export interface OnnxInitializer {
  readonly name: string;
  /** ONNX's TensorProto.DataType. */
  readonly dataType: number;
  /** Bytes from the start of the file; equal when the values are in typed fields. */
  readonly start: number;
  readonly end: number;
}

export interface OnnxModel {
  readonly irVersion: number;
  /** Version by operator domain; the default domain is `ai.onnx`. */
  readonly opsets: Readonly<Record<string, number>>;
  /** Graph inputs that are no initializers. */
  readonly inputs: Readonly<Record<string, ModelTensor>>;
  readonly outputs: Readonly<Record<string, ModelTensor>>;
  readonly initializers: readonly OnnxInitializer[];
  /** `Conv`, or `com.microsoft.QLinearAdd` outside the default domain; subgraphs and functions included, sorted. */
  readonly ops: readonly string[];
  /** The nodes that are listed in `ops`, in the order of the file. */
  readonly operators: readonly OnnxOperator[];
}

export interface OnnxOperator {
  readonly op: string;
  /** Empty where the file names none. */
  readonly node: string;
}

/** Graphs inside attributes (If, Loop, Scan) nest at most this deep. */
const MAX_DEPTH = 64;

/** Whether bytes can be read as an ONNX model. */
export function isOnnxModel(bytes: Uint8Array): boolean {
  try {
    readModel(bytes, false);
    return true;
  } catch (error) {
    // What is recognised and refused (external data, an unknown type) still is an ONNX model.
    return error instanceof NearfarError && error.code === 'unsupported';
  }
}

/**
 * Reads an ONNX model.
 * @throws {NearfarError} `invalid-argument` when it is damaged; `unsupported` for weights in other files (external data), inputs or
 * outputs that are no tensors, and element types without a dtype here.
 */
export function parseOnnxModel(bytes: Uint8Array): OnnxModel {
  return asDamaged(() => readModel(bytes, false));
}

/** As `parseOnnxModel`, but weights may lie in other files: they have no bytes in this one. */
export function parseOnnxTopology(bytes: Uint8Array): OnnxModel {
  return asDamaged(() => readModel(bytes, true));
}

export interface ValueInfo {
  readonly name: string;
  /** Undefined for a sequence, map or optional. */
  readonly tensor?: { readonly elementType: number; readonly shape: number[] | undefined };
}

interface Walk {
  readonly file: Uint8Array;
  readonly isExternalRead: boolean;
  readonly ops: Set<string>;
  readonly nodes: OnnxOperator[];
  readonly inputs: ValueInfo[];
  readonly outputs: ValueInfo[];
  readonly initializers: OnnxInitializer[];
}

function readModel(file: Uint8Array, isExternalRead: boolean): OnnxModel {
  const walk: Walk = { file, isExternalRead, ops: new Set(), nodes: [], inputs: [], outputs: [], initializers: [] };
  const opsets: [string, number][] = [];
  let irVersion = 0;
  let graphs = 0;
  readMessage(file, (field, reader, type) => {
    if (field === 1) irVersion = readNumber(reader, type);
    else if (field === 7) {
      graphs += 1;
      readGraph(readBytes(reader, type), walk, 0);
    } else if (field === 8) opsets.push(readOpset(readBytes(reader, type)));
    else if (field === 25) readFunction(readBytes(reader, type), walk);
    else return false;
    return true;
  });
  if (irVersion < 1 || graphs !== 1 || opsets.length === 0) throw damaged('no version, graph or operator set');
  const weights = new Set(walk.initializers.map(({ name }) => name));
  const toTensors = (infos: readonly ValueInfo[]) => Object.fromEntries(infos.map((info) => [info.name, toTensor(info)]));
  return {
    irVersion,
    opsets: Object.fromEntries(opsets),
    inputs: toTensors(walk.inputs.filter(({ name }) => !weights.has(name))),
    outputs: toTensors(walk.outputs),
    initializers: walk.initializers,
    ops: [...walk.ops].sort(),
    operators: walk.nodes,
  };
}

/** GraphProto. Inputs, outputs and weights are kept of the main graph (depth 0) alone. */
function readGraph(bytes: Uint8Array, walk: Walk, depth: number): void {
  if (depth > MAX_DEPTH) throw damaged(`graphs nest deeper than ${MAX_DEPTH}`);
  readMessage(bytes, (field, reader, type) => {
    if (field === 1) readNode(readBytes(reader, type), walk, depth);
    else if (field === 5) readInitializer(readBytes(reader, type), walk, depth);
    else if (field === 11 && depth === 0) walk.inputs.push(readValueTensor(readBytes(reader, type)));
    else if (field === 12 && depth === 0) walk.outputs.push(readValueTensor(readBytes(reader, type)));
    else return false;
    return true;
  });
}

/** NodeProto: the operator, and the graphs and tensors in its attributes. */
function readNode(bytes: Uint8Array, walk: Walk, depth: number): void {
  let op = '';
  let node = '';
  let domain = '';
  readMessage(bytes, (field, reader, type) => {
    if (field === 3) node = readText(reader, type);
    else if (field === 4) op = readText(reader, type);
    else if (field === 7) domain = readText(reader, type);
    else if (field === 5) readAttribute(readBytes(reader, type), walk, depth);
    else return false;
    return true;
  });
  if (op === '') throw damaged('a node has no operator');
  const full = domain === '' || domain === 'ai.onnx' ? op : `${domain}.${op}`;
  walk.ops.add(full);
  walk.nodes.push({ op: full, node });
}

/** AttributeProto: t = 5, g = 6, tensors = 10, graphs = 11. */
function readAttribute(bytes: Uint8Array, walk: Walk, depth: number): void {
  readMessage(bytes, (field, reader, type) => {
    if (field === 6 || field === 11) readGraph(readBytes(reader, type), walk, depth + 1);
    else if (field === 5 || field === 10) readTensor(readBytes(reader, type), walk);
    else return false;
    return true;
  });
}

function readInitializer(bytes: Uint8Array, walk: Walk, depth: number): void {
  const { name, dataType, raw } = readTensor(bytes, walk);
  if (depth > 0) return;
  const start = raw ? raw.byteOffset - walk.file.byteOffset : 0;
  walk.initializers.push({ name, dataType, start, end: start + (raw?.byteLength ?? 0) });
}

/** TensorProto: data_type = 2, name = 8, raw_data = 9, external_data = 13, data_location = 14. */
function readTensor(bytes: Uint8Array, { isExternalRead }: Walk): { name: string; dataType: number; raw: Uint8Array | undefined } {
  let name = '';
  let dataType = 0;
  let raw: Uint8Array | undefined;
  let isExternal = false;
  readMessage(bytes, (field, reader, type) => {
    if (field === 2) dataType = readNumber(reader, type);
    else if (field === 8) name = readText(reader, type);
    else if (field === 9) raw = readBytes(reader, type);
    else if (field === 14) isExternal = readNumber(reader, type) === 1;
    else return false;
    return true;
  });
  if (isExternal && !isExternalRead) {
    throw new NearfarError('unsupported', `weight ${name} lies in another file, which is not at hand; read the model from its folder`, {
      details: { format: 'onnx', name },
    });
  }
  return { name, dataType, raw };
}

/** FunctionProto: node = 7. */
function readFunction(bytes: Uint8Array, walk: Walk): void {
  readMessage(bytes, (field, reader, type) => {
    if (field !== 7) return false;
    readNode(readBytes(reader, type), walk, 1);
    return true;
  });
}

/** ValueInfoProto: name = 1, type = 2; of TypeProto only tensor_type = 1. */
export function readValueTensor(bytes: Uint8Array): ValueInfo {
  let name = '';
  let tensor: ValueInfo['tensor'];
  readMessage(bytes, (field, reader, type) => {
    if (field === 1) name = readText(reader, type);
    else if (field === 2) {
      readMessage(readBytes(reader, type), (kind, inner, innerType) => {
        if (kind !== 1) return false;
        tensor = readTensorType(readBytes(inner, innerType));
        return true;
      });
    } else return false;
    return true;
  });
  if (name === '') throw damaged('an input or output has no name');
  return tensor ? { name, tensor } : { name };
}

/** TypeProto.Tensor: elem_type = 1, shape = 2. */
function readTensorType(bytes: Uint8Array): { elementType: number; shape: number[] | undefined } {
  let elementType = 0;
  let shape: number[] | undefined;
  readMessage(bytes, (field, reader, type) => {
    if (field === 1) elementType = readNumber(reader, type);
    else if (field === 2) shape = readShape(readBytes(reader, type));
    else return false;
    return true;
  });
  return { elementType, shape };
}

/** TensorShapeProto: dim = 1; of a dimension dim_value = 1, anything else (a symbol, nothing) is any size. */
function readShape(bytes: Uint8Array): number[] {
  const shape: number[] = [];
  readMessage(bytes, (field, reader, type) => {
    if (field !== 1) return false;
    let size = -1;
    readMessage(readBytes(reader, type), (kind, inner, innerType) => {
      if (kind !== 1) return false;
      const value = readNumber(inner, innerType);
      if (!Number.isSafeInteger(value)) throw damaged('a dimension is too large');
      // Exporters write 0 and -1 too where they mean any size.
      size = value > 0 ? value : -1;
      return true;
    });
    shape.push(size);
    return true;
  });
  return shape;
}

/** OperatorSetIdProto: domain = 1, version = 2. */
function readOpset(bytes: Uint8Array): [string, number] {
  let domain = 'ai.onnx';
  let version = 0;
  readMessage(bytes, (field, reader, type) => {
    if (field === 1) domain = readText(reader, type) || 'ai.onnx';
    else if (field === 2) version = readNumber(reader, type);
    else return false;
    return true;
  });
  return [domain, version];
}

function toTensor({ name, tensor }: ValueInfo): ModelTensor {
  const dtype = tensor && onnxDTypes[tensor.elementType];
  if (tensor && dtype) return { tensor: name, dtype, shape: tensor.shape };
  throw new NearfarError('unsupported', `${name} is ${tensor ? `of the element type ${tensor.elementType}` : 'no tensor'}`, {
    details: { format: 'onnx', name },
  });
}

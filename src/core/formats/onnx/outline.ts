import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { bytesPerElement, elementCount } from '../../tensor/index.ts';
import type { ModelTensor } from '../model-tensor.ts';
import { onnxDTypes } from './data-types.ts';
import { readValueTensor } from './model.ts';
import { readTensorProto } from './tensor-proto.ts';
import { asDamaged, damaged, readBytes, readMessage, readNumber, readText } from './wire.ts';

/** The main graph of an ONNX file, for people to look at: no weight's values, nothing of the graphs inside of its nodes. */
export interface OnnxOutline {
  readonly nodes: readonly OnnxOutlineNode[];
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Weights by name, those in other files too. */
  readonly weights: ReadonlyMap<string, OnnxOutlineWeight>;
  /** What the file says of its tensors: always of inputs and outputs, of others only where the exporter wrote it down. */
  readonly tensors: ReadonlyMap<string, Pick<ModelTensor, 'dtype' | 'shape'>>;
}

export interface OnnxOutlineNode {
  readonly name: string;
  readonly op: string;
  /** Names of tensors; an empty one stands for an input that is left out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** As text. */
  readonly attributes: Readonly<Record<string, string>>;
}

export interface OnnxOutlineWeight {
  /** Undefined for an element type without a dtype here. */
  readonly dtype: ModelTensor['dtype'] | undefined;
  readonly shape: readonly number[];
  readonly byteLength: number;
}

/**
 * Reads the nodes of an ONNX file and what they are connected by.
 * @throws {NearfarError} `invalid-argument` when it is damaged.
 */
export function readOnnxOutline(bytes: Uint8Array): OnnxOutline {
  return asDamaged(() => {
    let graph: Uint8Array | undefined;
    readMessage(bytes, (field, reader, type) => {
      if (field !== 7) return false;
      graph = readBytes(reader, type);
      return true;
    });
    if (!graph) throw damaged('no graph');
    return readGraph(graph);
  });
}

/** GraphProto: node = 1, initializer = 5, input = 11, output = 12, value_info = 13. */
function readGraph(bytes: Uint8Array): OnnxOutline {
  const nodes: OnnxOutlineNode[] = [];
  const names = { inputs: [] as string[], outputs: [] as string[] };
  const weights = new Map<string, OnnxOutlineWeight>();
  const tensors = new Map<string, Pick<ModelTensor, 'dtype' | 'shape'>>();
  readMessage(bytes, (field, reader, type) => {
    if (field === 1) nodes.push(readNode(readBytes(reader, type)));
    else if (field === 5) {
      const { name, dataType, shape } = readTensorProto(readBytes(reader, type));
      const dtype = onnxDTypes[dataType];
      const byteLength = dtype === undefined || dtype === 'string' ? 0 : elementCount(shape) * bytesPerElement(dtype);
      weights.set(name, { dtype, shape, byteLength });
    } else if (field === 11 || field === 12 || field === 13) {
      const { name, tensor } = readValueTensor(readBytes(reader, type));
      const dtype = tensor && onnxDTypes[tensor.elementType];
      if (tensor && dtype) tensors.set(name, { dtype, shape: tensor.shape });
      if (field === 11) names.inputs.push(name);
      if (field === 12) names.outputs.push(name);
    } else return false;
    return true;
  });
  return { nodes, inputs: names.inputs.filter((name) => !weights.has(name)), outputs: names.outputs, weights, tensors };
}

/** NodeProto: input = 1, output = 2, name = 3, op_type = 4, attribute = 5, domain = 7. */
function readNode(bytes: Uint8Array): OnnxOutlineNode {
  const [inputs, outputs]: [string[], string[]] = [[], []];
  const attributes: Record<string, string> = {};
  let [name, op, domain] = ['', '', ''];
  readMessage(bytes, (field, reader, type) => {
    if (field === 1) inputs.push(readText(reader, type));
    else if (field === 2) outputs.push(readText(reader, type));
    else if (field === 3) name = readText(reader, type);
    else if (field === 4) op = readText(reader, type);
    else if (field === 5) {
      const attribute = readAttribute(readBytes(reader, type));
      attributes[attribute.name] = attribute.value;
    } else if (field === 7) domain = readText(reader, type);
    else return false;
    return true;
  });
  return { name, op: domain === '' || domain === 'ai.onnx' ? op : `${domain}.${op}`, inputs, outputs, attributes };
}

/** AttributeProto: name = 1, f = 2, i = 3, s = 4, t = 5, g = 6, floats = 7, ints = 8, strings = 9. */
function readAttribute(bytes: Uint8Array): { name: string; value: string } {
  let name = '';
  const values: string[] = [];
  let isList = false;
  readMessage(bytes, (field, reader, type) => {
    isList ||= field === 7 || field === 8 || field === 9;
    if (field === 1) name = readText(reader, type);
    else if (field === 2 && type === WireType.Bit32) values.push(String(reader.float()));
    else if (field === 3) values.push(String(readNumber(reader, type)));
    else if (field === 4 || field === 9) values.push(JSON.stringify(readText(reader, type)));
    else if (field === 5) {
      const { dataType, shape } = readTensorProto(readBytes(reader, type));
      values.push(`${onnxDTypes[dataType] ?? 'tensor'} [${shape.join(', ')}]`);
    } else if (field === 6) {
      reader.skip(type, field);
      values.push('a graph');
    } else if (field === 7 && type === WireType.LengthDelimited) values.push(...unpack(reader.bytes(), (packed) => packed.float()));
    else if (field === 7 && type === WireType.Bit32) values.push(String(reader.float()));
    else if (field === 8 && type === WireType.LengthDelimited) values.push(...unpack(reader.bytes(), (packed) => packed.int64()));
    else if (field === 8) values.push(String(readNumber(reader, type)));
    else return false;
    return true;
  });
  return { name, value: isList ? `[${values.join(', ')}]` : values.join(', ') };
}

function unpack(bytes: Uint8Array, read: (reader: BinaryReader) => unknown): string[] {
  const reader = new BinaryReader(bytes);
  const values: string[] = [];
  while (reader.pos < reader.len) values.push(String(read(reader)));
  return values;
}

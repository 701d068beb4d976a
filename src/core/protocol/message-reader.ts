import type { ModelInferRequest } from './gen/inference/grpc_service_pb.ts';
import type { TensorProto } from './gen/tensorflow/core/framework/tensor_pb.ts';
import type { TensorShapeProto } from './gen/tensorflow/core/framework/tensor_shape_pb.ts';
import { DataType } from './gen/tensorflow/core/framework/types_pb.ts';
import type { ModelSpec } from './gen/tensorflow_serving/apis/model_pb.ts';
import type { PredictRequest } from './gen/tensorflow_serving/apis/predict_pb.ts';

const varint = 0;
const lengthDelimited = 2;

/** Thrown and caught in this file: what is left to the general reader, which also knows what is wrong with damaged bytes. */
const unusual = new Error('a message of another form');

/** The fields of one message. All that is not what clients send every day is refused. */
class Fields {
  readonly bytes: Uint8Array;
  at: number;
  end: number;

  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  get hasMore(): boolean {
    return this.at < this.end;
  }

  /** Of a field below 16, as those here all are: one byte. */
  tag(): number {
    return this.#byte();
  }

  /** Up to 35 bits. */
  number(): number {
    let value = 0;
    for (let scale = 1; scale <= 2 ** 28; scale *= 128) {
      const byte = this.#byte();
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
    throw unusual;
  }

  message(): Fields {
    const at = this.#skip();
    return new Fields(this.bytes, at, this.at);
  }

  /** The bytes where they lie, not a copy. */
  content(): Uint8Array {
    const at = this.#skip();
    return this.bytes.subarray(at, this.at);
  }

  /** ASCII: short names are decoded faster here than by a TextDecoder. */
  text(): string {
    let text = '';
    for (let at = this.#skip(); at < this.at; at++) {
      const byte = this.bytes[at] ?? 128;
      if (byte > 127) throw unusual;
      text += String.fromCharCode(byte);
    }
    return text;
  }

  #byte(): number {
    if (this.at >= this.end) throw unusual;
    return this.bytes[this.at++] ?? 0;
  }

  /** Goes past a field with a length. @returns where its bytes begin. */
  #skip(): number {
    const length = this.number();
    const at = this.at;
    if (length > this.end - at) throw unusual;
    this.at = at + length;
    return at;
  }
}

/** A message in its usual form; undefined is for the general reader of protobuf. */
function readUsual<M>(bytes: Uint8Array, read: (fields: Fields) => M): M | undefined {
  try {
    return read(new Fields(bytes));
  } catch (error) {
    if (error === unusual) return undefined;
    throw error;
  }
}

const tagOf = (field: number, wireType: number): number => field * 8 + wireType;

/**
 * A PredictRequest as clients send it, 10 times as fast as by a reader that knows all messages: names in ASCII, and tensors as
 * `tensor_content` or as packed floats.
 * @returns The same message as the general reader's, with `tensor_content` where it lies in the bytes; undefined where it has to be asked.
 */
export function readPredictRequest(bytes: Uint8Array): PredictRequest | undefined {
  return readUsual(bytes, (fields) => {
    const request: PredictRequest = { $typeName: 'tensorflow.serving.PredictRequest', inputs: {}, outputFilter: [] };
    while (fields.hasMore) {
      switch (fields.tag()) {
        case tagOf(1, lengthDelimited):
          if (request.modelSpec) throw unusual; // two are merged
          request.modelSpec = readModelSpec(fields.message());
          break;
        case tagOf(2, lengthDelimited): {
          const entry = fields.message();
          if (entry.tag() !== tagOf(1, lengthDelimited)) throw unusual;
          const alias = entry.text();
          if (alias === '__proto__' || entry.tag() !== tagOf(2, lengthDelimited)) throw unusual;
          request.inputs[alias] = readTensorProto(entry.message());
          if (entry.hasMore) throw unusual;
          break;
        }
        case tagOf(3, lengthDelimited):
          request.outputFilter.push(fields.text());
          break;
        default:
          throw unusual;
      }
    }
    return request;
  });
}

function readModelSpec(fields: Fields): ModelSpec {
  const spec: ModelSpec = {
    $typeName: 'tensorflow.serving.ModelSpec',
    name: '',
    versionChoice: { case: undefined },
    signatureName: '',
  };
  while (fields.hasMore) {
    switch (fields.tag()) {
      case tagOf(1, lengthDelimited):
        spec.name = fields.text();
        break;
      case tagOf(2, lengthDelimited): {
        if (spec.versionChoice.case !== undefined) throw unusual;
        const version = fields.message();
        if (version.tag() !== tagOf(1, varint)) throw unusual;
        const value = BigInt(version.number());
        if (version.hasMore) throw unusual;
        spec.versionChoice = { case: 'version', value: { $typeName: 'google.protobuf.Int64Value', value } };
        break;
      }
      case tagOf(3, lengthDelimited):
        spec.signatureName = fields.text();
        break;
      default:
        throw unusual;
    }
  }
  return spec;
}

/** Of all lists that a TensorProto has and that hold nothing: a list of its own for each costs more than the rest. Nobody adds to it. */
const none: never[] = [];
const dataTypes: ReadonlySet<number> = new Set(Object.values(DataType));
const noBytes = new Uint8Array(0);

function readTensorProto(fields: Fields): TensorProto {
  const proto: TensorProto = {
    $typeName: 'tensorflow.TensorProto',
    dtype: 0,
    versionNumber: 0,
    tensorContent: noBytes,
    floatVal: none,
    doubleVal: none,
    intVal: none,
    stringVal: none,
    scomplexVal: none,
    int64Val: none,
    boolVal: none,
    dcomplexVal: none,
    halfVal: none,
    uint32Val: none,
    uint64Val: none,
  };
  while (fields.hasMore) {
    switch (fields.tag()) {
      case tagOf(1, varint):
        proto.dtype = readDataType(fields);
        break;
      case tagOf(2, lengthDelimited):
        if (proto.tensorShape) throw unusual;
        proto.tensorShape = readTensorShape(fields.message());
        break;
      case tagOf(4, lengthDelimited):
        proto.tensorContent = fields.content();
        break;
      case tagOf(5, lengthDelimited):
        proto.floatVal = proto.floatVal.concat(readFloats(fields.content()));
        break;
      default:
        throw unusual;
    }
  }
  return proto;
}

function readDataType(fields: Fields): DataType {
  const value = fields.number();
  if (isDataType(value)) return value;
  throw unusual;
}

function isDataType(value: number): value is DataType {
  return dataTypes.has(value);
}

function readFloats(bytes: Uint8Array): number[] {
  if (bytes.length % 4 !== 0) throw unusual;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Array.from({ length: bytes.length / 4 }, (_, index) => view.getFloat32(index * 4, true));
}

function readTensorShape(fields: Fields): TensorShapeProto {
  const shape: TensorShapeProto = { $typeName: 'tensorflow.TensorShapeProto', dim: [], unknownRank: false };
  while (fields.hasMore) {
    if (fields.tag() !== tagOf(2, lengthDelimited)) throw unusual;
    const dim = fields.message();
    let size = 0n;
    while (dim.hasMore) {
      if (dim.tag() !== tagOf(1, varint)) throw unusual;
      size = BigInt(dim.number());
    }
    shape.dim.push({ $typeName: 'tensorflow.TensorShapeProto.Dim', size, name: '' });
  }
  return shape;
}

/** As {@link readPredictRequest}: names in ASCII, no parameters, tensors in `raw_input_contents`. */
export function readModelInferRequest(bytes: Uint8Array): ModelInferRequest | undefined {
  return readUsual(bytes, (fields) => {
    const request: ModelInferRequest = {
      $typeName: 'inference.ModelInferRequest',
      modelName: '',
      modelVersion: '',
      id: '',
      parameters: {},
      inputs: [],
      outputs: [],
      rawInputContents: [],
    };
    while (fields.hasMore) {
      switch (fields.tag()) {
        case tagOf(1, lengthDelimited):
          request.modelName = fields.text();
          break;
        case tagOf(2, lengthDelimited):
          request.modelVersion = fields.text();
          break;
        case tagOf(3, lengthDelimited):
          request.id = fields.text();
          break;
        case tagOf(5, lengthDelimited):
          request.inputs.push(readInferInput(fields.message()));
          break;
        case tagOf(6, lengthDelimited): {
          const output = fields.message();
          if (output.tag() !== tagOf(1, lengthDelimited)) throw unusual;
          const name = output.text();
          if (output.hasMore) throw unusual;
          request.outputs.push({ $typeName: 'inference.ModelInferRequest.InferRequestedOutputTensor', name, parameters: {} });
          break;
        }
        case tagOf(7, lengthDelimited):
          request.rawInputContents.push(fields.content());
          break;
        default:
          throw unusual;
      }
    }
    return request;
  });
}

function readInferInput(fields: Fields): ModelInferRequest['inputs'][number] {
  const input: ModelInferRequest['inputs'][number] = {
    $typeName: 'inference.ModelInferRequest.InferInputTensor',
    name: '',
    datatype: '',
    shape: [],
    parameters: {},
  };
  while (fields.hasMore) {
    switch (fields.tag()) {
      case tagOf(1, lengthDelimited):
        input.name = fields.text();
        break;
      case tagOf(2, lengthDelimited):
        input.datatype = fields.text();
        break;
      case tagOf(3, lengthDelimited): {
        const sizes = fields.message();
        while (sizes.hasMore) input.shape.push(BigInt(sizes.number()));
        break;
      }
      default:
        throw unusual;
    }
  }
  return input;
}

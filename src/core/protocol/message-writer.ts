import { toBinary } from '@bufbuild/protobuf';
import type { AnyTensor, DType, TensorMap } from '../tensor/index.ts';
import { TensorProtoSchema } from './gen/tensorflow/core/framework/tensor_pb.ts';
import { tensorBytes } from './oip.ts';
import { encodeTensorProto } from './tensor-proto.ts';
import { dataTypeOf, inferenceDatatypeOf } from './wire-dtypes.ts';

const varint = 0;
const lengthDelimited = 2;
const encoder = new TextEncoder();

/** What a tensor takes beside its elements, and an answer beside its tensors, mostly. */
const expectedHeadBytes = 128;

/** Writes fields one behind the other into one piece of memory. */
class FieldWriter {
  #bytes: Uint8Array<ArrayBuffer>;
  #at = 0;

  constructor(expectedBytes: number) {
    this.#bytes = new Uint8Array(expectedBytes);
  }

  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#at);
  }

  tag(field: number, wireType: number): void {
    this.#reserve(1);
    this.#bytes[this.#at++] = field * 8 + wireType;
  }

  /** A whole number from 0 on. */
  number(value: number): void {
    this.#reserve(10);
    let rest = value;
    for (; rest > 127; rest = Math.floor(rest / 128)) this.#bytes[this.#at++] = (rest % 128) | 128;
    this.#bytes[this.#at++] = rest;
  }

  bigNumber(value: bigint): void {
    if (value <= BigInt(Number.MAX_SAFE_INTEGER)) {
      this.number(Number(value));
      return;
    }
    this.#reserve(10);
    let rest = value;
    for (; rest > 127n; rest >>= 7n) this.#bytes[this.#at++] = Number(rest & 127n) | 128;
    this.#bytes[this.#at++] = Number(rest);
  }

  content(field: number, bytes: Uint8Array): void {
    this.tag(field, lengthDelimited);
    this.number(bytes.length);
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** Short ASCII is encoded faster here than by a TextEncoder. */
  text(field: number, text: string): void {
    if (text.length > 127) {
      this.content(field, encoder.encode(text));
      return;
    }
    const start = this.#at;
    this.tag(field, lengthDelimited);
    this.#reserve(text.length + 1);
    this.#bytes[this.#at++] = text.length;
    for (let index = 0; index < text.length; index++) {
      const code = text.charCodeAt(index);
      if (code > 127) {
        this.#at = start;
        this.content(field, encoder.encode(text));
        return;
      }
      this.#bytes[this.#at++] = code;
    }
  }

  /**
   * A message in a message.
   * @param expectedBytes Its length may take as many bytes as this one's: if not, what was written moves.
   */
  message(field: number, expectedBytes: number, write: () => void): void {
    this.tag(field, lengthDelimited);
    const lengthAt = this.#at;
    this.number(expectedBytes);
    const start = this.#at;
    write();
    const end = this.#at;
    const length = end - start;
    this.#at = lengthAt;
    const bytesOfLength = varintBytes(length);
    this.#reserve(bytesOfLength + length);
    if (lengthAt + bytesOfLength !== start) this.#bytes.copyWithin(lengthAt + bytesOfLength, start, end);
    this.number(length);
    this.#at += length;
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.length) return;
    const larger = new Uint8Array(2 * (this.#at + bytes));
    larger.set(this.#bytes);
    this.#bytes = larger;
  }
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest > 127; rest = Math.floor(rest / 128)) bytes++;
  return bytes;
}

/** What an answer of TensorFlow Serving says of the version behind it. */
export interface AnsweredSpec {
  readonly name: string;
  readonly version: string;
  readonly signatureName: string;
}

/**
 * The bytes of a PredictResponse, with the elements in the typed `*_val` field of their dtype, or in `tensor_content` where `asContent`
 * says so; the same as by way of {@link encodeTensorProto} and the general writer, which takes 10 times as long.
 */
export function writePredictResponse(
  { name, version, signatureName }: AnsweredSpec,
  outputs: TensorMap,
  options: { readonly asContent?: boolean | undefined } = {},
): Uint8Array<ArrayBuffer> {
  const writer = new FieldWriter(sizeOf(outputs) + expectedHeadBytes);
  for (const [alias, tensor] of Object.entries(outputs)) {
    const tensorSize = elementBytes(tensor) + 16; // with dtype and shape
    writer.message(1, tensorSize + alias.length, () => {
      writer.text(1, alias);
      const elements = elementsOf(tensor, options.asContent === true);
      if (elements) writer.message(2, tensorSize, () => writeTensor(writer, tensor, elements));
      else writer.content(2, toBinary(TensorProtoSchema, encodeTensorProto(tensor)));
    });
  }
  writer.message(2, 0, () => {
    if (name !== '') writer.text(1, name);
    writer.message(2, 0, () => {
      if (version === '0') return;
      writer.tag(1, varint);
      writer.bigNumber(BigInt(version));
    });
    if (signatureName !== '') writer.text(3, signatureName);
  });
  return writer.finish();
}

/** The elements of a tensor as they are written, and where. */
interface Elements {
  readonly field: number;
  readonly bytes: Uint8Array;
}

/** Undefined where values are written one by one. */
function elementsOf(tensor: AnyTensor, asContent: boolean): Elements | undefined {
  if (tensor.dtype === 'string') return undefined;
  const field = asContent ? TensorProtoSchema.field.tensorContent.number : packedFields[tensor.dtype];
  if (field === undefined) return undefined;
  const { buffer, byteOffset, byteLength } = tensor.data;
  return { field, bytes: new Uint8Array(buffer, byteOffset, byteLength) };
}

const packedFields: { readonly [D in DType]?: number } = {
  float32: TensorProtoSchema.field.floatVal.number,
  float64: TensorProtoSchema.field.doubleVal.number,
};

function writeTensor(writer: FieldWriter, { dtype, shape }: AnyTensor, elements: Elements): void {
  writer.tag(1, varint);
  writer.number(dataTypeOf(dtype));
  writer.message(2, 0, () => {
    for (const size of shape) {
      writer.message(2, 0, () => {
        if (size === 0) return;
        writer.tag(1, varint);
        writer.number(size);
      });
    }
  });
  if (elements.bytes.length > 0) writer.content(elements.field, elements.bytes);
}

/** An answer of the Open Inference Protocol. */
export interface InferAnswer {
  readonly modelName: string;
  readonly modelVersion: string;
  readonly id: string;
  readonly outputs: TensorMap;
}

/** The bytes of a ModelInferResponse with raw contents. */
export function writeModelInferResponse({ modelName, modelVersion, id, outputs }: InferAnswer): Uint8Array<ArrayBuffer> {
  const writer = new FieldWriter(sizeOf(outputs) + expectedHeadBytes);
  for (const [field, text] of [modelName, modelVersion, id].entries()) if (text !== '') writer.text(field + 1, text);
  const tensors = Object.entries(outputs);
  for (const [name, { dtype, shape }] of tensors) {
    writer.message(5, 0, () => {
      if (name !== '') writer.text(1, name);
      writer.text(2, inferenceDatatypeOf(dtype) ?? dtype);
      if (shape.length === 0) return;
      writer.message(3, 0, () => {
        for (const size of shape) writer.number(size);
      });
    });
  }
  for (const [name, tensor] of tensors) writer.content(6, tensorBytes(name, tensor));
  return writer.finish();
}

/** Roughly: strings are left to grow. */
function sizeOf(outputs: TensorMap): number {
  return Object.values(outputs).reduce((sum, tensor) => sum + elementBytes(tensor) + expectedHeadBytes, 0);
}

function elementBytes(tensor: AnyTensor): number {
  return tensor.dtype === 'string' ? 0 : tensor.data.byteLength;
}

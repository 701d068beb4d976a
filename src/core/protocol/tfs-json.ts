import { encodeBase64 } from '../base64.ts';
import { NearfarError, serializeError } from '../errors.ts';
import type { Signature } from '../manifest/index.ts';
import { type AnyTensor, type DType, elementCount, type TensorMap } from '../tensor/index.ts';
import { decodeJson } from './decode-json.ts';
import { formatDecimal } from './json-decimal.ts';
import type { JsonDocument } from './json-reader.ts';
import { addDenseValues, createSink, createUnsupportedSink, denseShape, isBase64Object, type ValueSink } from './json-tensor.ts';
import { describeJson } from './json-text.ts';
import { JsonWriter } from './json-writer.ts';
import { grpcStatusName } from './status-names.ts';
import { assertNotEmpty, malformed, readSignatureName } from './tfs-request.ts';
import { readUsualPredict } from './usual-json.ts';
import { dataTypeText } from './wire-dtypes.ts';

/** `row` is `instances` → `predictions`, `columnar` is `inputs` → `outputs`. */
export type PredictFormat = 'row' | 'columnar';

export interface JsonPredictRequest {
  /** As written; '' where the request names none. */
  readonly signatureName: string;
  readonly format: PredictFormat;
  readonly inputs: TensorMap;
}

/**
 * The body of TensorFlow Serving's `:predict`, both forms, with its rules and error texts (json_tensor.cc).
 * @param findSignature The signature of that name, '' for the default one; it throws where there is none.
 * @throws {NearfarError} `invalid-argument`, `dtype-mismatch`, `unsupported` (a dtype that has no JSON form).
 */
export function decodePredictJson(body: Uint8Array, findSignature: (name: string) => Pick<Signature, 'inputs'>): JsonPredictRequest {
  assertNotEmpty(body);
  const usual = readUsualPredict(body, () => findSignature('').inputs);
  return usual ? { signatureName: '', ...usual } : decodeJson(body, (document) => decodePredict(document, findSignature));
}

function decodePredict(document: JsonDocument, findSignature: (name: string) => Pick<Signature, 'inputs'>): JsonPredictRequest {
  const signatureName = readSignatureName(document);
  const { inputs } = findSignature(signatureName);
  if (Object.keys(inputs).length === 0) throw invalid(`Failed to get input map for signature: ${signatureName || 'DEFAULT'}`);

  const rows = document.member(0, 'instances');
  const columns = document.member(0, 'inputs');
  if (rows !== undefined && columns !== undefined) {
    throw malformed(document, "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ");
  }
  if (rows !== undefined) return { signatureName, format: 'row', inputs: decodeInstances(document, rows, inputs) };
  if (columns !== undefined) return { signatureName, format: 'columnar', inputs: decodeColumns(document, columns, inputs) };
  throw invalid("Missing 'inputs' or 'instances' key");
}

/** One named input while its rows come in: each has the shape of the first. */
interface RowTensor {
  readonly sink: ValueSink;
  readonly shape: readonly number[];
}

function decodeInstances(document: JsonDocument, index: number, infos: Signature['inputs']): TensorMap {
  if (document.kind(index) === 'numbers') return decodeColumns(document, index, infos);
  if (document.kind(index) !== 'array') throw malformed(document, "Excepting 'instances' to be an list/array");
  const rows = document.size(index);
  if (rows === 0) throw malformed(document, "No values in 'instances' array");
  const names = Object.keys(infos).sort();
  const isNamed = (element: number) => document.kind(element) === 'object' && !isBase64Object(document, element);
  const hasNames = isNamed(index + 1);
  if (document.kind(index + 1) !== 'object' && names.length > 1) {
    throw invalid('instances is a plain list, but expecting list of objects as multiple input tensors required as per tensorinfo_map');
  }

  const tensors = new Map<string, RowTensor>();
  let row = 0;
  for (const element of document.elements(index)) {
    if (hasNames) {
      if (!isNamed(element)) throw invalid(`Expecting object but got list at item ${row} of input list`);
      addNamedRow(document, element, row, rows, infos, tensors);
    } else {
      if (isNamed(element)) throw invalid(`Expecting value/list but got object at item ${row} of input list`);
      const [name = ''] = names;
      inElement(`Failed to process element: ${row} of 'instances' list. Error: `, () =>
        addRow(document, element, name, rows, infos, tensors),
      );
    }
    row++;
  }
  return Object.fromEntries(Array.from(tensors, ([name, { sink, shape }]) => [name, sink.tensor([rows, ...shape])]));
}

function addNamedRow(
  document: JsonDocument,
  element: number,
  row: number,
  rows: number,
  infos: Signature['inputs'],
  tensors: Map<string, RowTensor>,
): void {
  const found = new Set<string>();
  for (const [name, value] of document.members(element)) {
    inElement(`Failed to process element: ${row} key: ${name} of 'instances' list. Error: `, () => {
      // A repeated name would add two values to one row.
      if (found.has(name)) throw invalid(`JSON object: has input ${name} twice`);
      addRow(document, value, name, rows, infos, tensors);
    });
    found.add(name);
  }
  const names = Object.keys(infos).sort();
  if (found.size === names.length && names.every((name) => found.has(name))) return;
  throw invalid(
    `Failed to process element: ${row} of 'instances' list. JSON object: ${describeJson(document, element)} must only have keys: ${names.join(',')}`,
  );
}

function addRow(
  document: JsonDocument,
  index: number,
  name: string,
  rows: number,
  infos: Signature['inputs'],
  tensors: Map<string, RowTensor>,
): void {
  const info = Object.hasOwn(infos, name) ? infos[name] : undefined;
  if (!info) throw invalid(`JSON object: does not have named input: ${name}`);
  const shape = denseShape(document, index);
  // Each value is one of the document's, so a shape that promises more than those is refused below, before it costs memory.
  const first = tensors.get(name) ?? { shape, sink: sinkOf(info.dtype, Math.min(rows * elementCount(shape), document.length)) };
  const before = first.sink.count;
  addBounded(document, index, shape, first, () => `Expecting shape [${first.shape}] but got: [${shape}]`);
  const [want, got] = [elementCount(first.shape), first.sink.count - before];
  if (got !== want) throw invalid(`Expecting tensor size: ${want} but got: ${got}`);
  tensors.set(name, first);
}

function addBounded(document: JsonDocument, index: number, shape: readonly number[], first: RowTensor, describe: () => string): void {
  const isSame = shape.length === first.shape.length && shape.every((size, axis) => size === first.shape[axis]);
  if (!isSame) {
    const [want, got] = [elementCount(first.shape), elementCount(shape)];
    throw invalid(want === got ? describe() : `Expecting tensor size: ${want} but got: ${got}`);
  }
  addDenseValues(document, index, shape, first.sink);
}

function decodeColumns(document: JsonDocument, index: number, infos: Signature['inputs']): TensorMap {
  const decode = (value: number, dtype: AnyTensor['dtype']): AnyTensor => {
    const shape = denseShape(document, value);
    const sink = sinkOf(dtype, Math.min(elementCount(shape), document.length));
    addDenseValues(document, value, shape, sink);
    return sink.tensor(shape);
  };
  const entries = Object.entries(infos);
  if (document.kind(index) === 'object' && !isBase64Object(document, index)) {
    return Object.fromEntries(
      entries.map(([name, { dtype }]) => {
        const value = document.member(index, name);
        if (value === undefined) throw invalid(`Missing named input: ${name} in 'inputs' object.`);
        return [name, decode(value, dtype)];
      }),
    );
  }
  const [only, ...others] = entries;
  if (!only || others.length > 0) {
    throw invalid('inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map');
  }
  return { [only[0]]: decode(index, only[1].dtype) };
}

/** TensorFlow Serving has no JSON form of uint16 either. */
function sinkOf(dtype: DType, capacity: number): ValueSink {
  return dtype === 'uint16' ? createUnsupportedSink(dtype) : createSink(dtype, capacity);
}

/**
 * The answer of `:predict` as JSON text, in TensorFlow Serving's layout. Strings of an output whose name ends in `_bytes`
 * are `{"b64": …}`, all others text (bytes that are no UTF-8 become U+FFFD).
 * @throws {NearfarError} `invalid-argument` for a dtype without JSON form and, by rows, for outputs without a common first dimension.
 */
export function encodePredictJson(outputs: TensorMap, format: PredictFormat): string {
  const tensors = Object.entries(outputs);
  if (tensors.length === 0) throw invalid('Cannot convert empty tensor map to JSON');
  return format === 'row' ? encodeRows(tensors) : encodeColumns(tensors);
}

function encodeRows(tensors: readonly (readonly [string, AnyTensor])[]): string {
  const rows = commonBatchSize(tensors);
  const hasNames = tensors.length > 1;
  const cursors = tensors.map(([name, tensor]) => ({ name, shape: tensor.shape, write: valueWriter(name, tensor) }));
  const writer = new JsonWriter();
  writer.startObject();
  writer.string('predictions');
  writer.startArray();
  for (let row = 0; row < rows; row++) {
    if (hasNames) writer.startObject();
    // TensorFlow Serving sets the one-line form after a row began and ends it before the row ends, hence its odd last line.
    writer.isSingleLine = true;
    for (const { name, shape, write } of cursors) {
      if (hasNames) writer.string(name);
      writeValues(writer, shape, 1, write);
    }
    writer.isSingleLine = false;
    if (hasNames) writer.endObject();
  }
  writer.endArray();
  writer.endObject();
  return writer.text();
}

function commonBatchSize(tensors: readonly (readonly [string, AnyTensor])[]): number {
  let batch: number | undefined;
  for (const [name, { shape }] of tensors) {
    const [size] = shape;
    if (size === undefined) throw invalid(`Tensor name: ${name} has no shape information `);
    if (batch !== undefined && batch !== size) {
      throw invalid(`Tensor name: ${name} has inconsistent batch size: ${size} expecting: ${batch}`);
    }
    batch = size;
  }
  return batch ?? 0;
}

function encodeColumns(tensors: readonly (readonly [string, AnyTensor])[]): string {
  const hasNames = tensors.length > 1;
  const writer = new JsonWriter();
  writer.startObject();
  writer.string('outputs');
  if (hasNames) writer.startObject();
  for (const [name, tensor] of tensors) {
    if (hasNames) writer.string(name);
    writeValues(writer, tensor.shape, 0, valueWriter(name, tensor));
  }
  if (hasNames) writer.endObject();
  writer.endObject();
  return writer.text();
}

function writeValues(writer: JsonWriter, shape: readonly number[], axis: number, write: (writer: JsonWriter) => void): void {
  const size = shape[axis];
  if (size === undefined) {
    write(writer);
    return;
  }
  writer.startArray();
  for (let i = 0; i < size; i++) writeValues(writer, shape, axis + 1, write);
  writer.endArray();
}

/** Writes the next value of a tensor at each call. */
function valueWriter(name: string, tensor: AnyTensor): (writer: JsonWriter) => void {
  let next = 0;
  switch (tensor.dtype) {
    case 'float32':
    case 'float64':
      return (writer) => writer.raw(formatDecimal(tensor.data[next++] ?? Number.NaN, tensor.dtype));
    case 'bool':
      return (writer) => writer.raw(tensor.data[next++] === 0 ? 'false' : 'true');
    case 'int8':
    case 'int16':
    case 'int32':
    case 'int64':
    case 'uint8':
    case 'uint32':
    case 'uint64':
      return (writer) => writer.raw(String(tensor.data[next++]));
    case 'string':
      return name.endsWith('_bytes')
        ? (writer) => {
            writer.startObject();
            writer.string('b64');
            writer.string(encodeBase64(tensor.data[next++] ?? new Uint8Array()));
            writer.endObject();
          }
        : (writer) => writer.string(new TextDecoder().decode(tensor.data[next++] ?? new Uint8Array()));
    default:
      throw invalid(`Failed to write JSON value for tensor type: ${dataTypeText(tensor.dtype)}`);
  }
}

/** TensorFlow Serving nests the status of a row's error in the text of the request's, which is always INVALID_ARGUMENT. */
function inElement(prefix: string, decode: () => void): void {
  try {
    decode();
  } catch (error) {
    const { code, message, details } = serializeError(error);
    throw new NearfarError('invalid-argument', `${prefix}${grpcStatusName(code)}: ${message}`, {
      cause: error,
      ...(details && { details }),
    });
  }
}

function invalid(message: string): NearfarError {
  return new NearfarError('invalid-argument', message);
}

import { NearfarError } from '../../errors.ts';
import { bytesPerElement, elementCount } from '../../tensor/index.ts';
import type { EmittedModel, ModelFile, ModelFolder } from '../model-folder.ts';
import { onnxDTypes } from './data-types.ts';
import { type OnnxInitializer, type OnnxModel, parseOnnxTopology } from './model.ts';
import { emitPieces, type LazyPiece, type Piece, replaceFields, replaceTensors, withPrefix } from './rewrite.ts';
import { readTensorProto, type TensorProto } from './tensor-proto.ts';
import { asDamaged, damaged } from './wire.ts';

/** An ONNX model from its folder, in one file. */
export interface OnnxSource {
  /** What publishing needs to know; places of the initializers are those in the written file. */
  readonly model: OnnxModel;
  /** The model with all its weights inside; as it was, byte for byte, when they were there already. */
  readonly emitted: EmittedModel;
}

/**
 * Reads an ONNX model whose weights may lie in other files of its folder (TensorProto.external_data), and puts them into one file.
 * @param entry Path of the .onnx file.
 * @throws {NearfarError} `invalid-argument` when it is damaged, or a weight lies outside of its folder, of its file or of the folder's
 * files; `not-found` when the entry or a file of weights is absent; `unsupported` for 2 GiB and more, and what `parseOnnxModel` refuses.
 */
export async function readOnnx(folder: ModelFolder, entry = 'model.onnx'): Promise<OnnxSource> {
  const file = folder.get(entry);
  if (!file) throw new NearfarError('not-found', `the folder has no ${entry}`, { details: { format: 'onnx', path: entry } });
  if (file.byteLength > 2 ** 31 - 1) {
    throw new NearfarError('unsupported', `${entry} has ${file.byteLength} bytes, an ONNX file holds less than 2 GiB`, {
      details: { format: 'onnx', bytes: file.byteLength },
    });
  }
  const bytes = await file.read(0, file.byteLength);
  const model = parseOnnxTopology(bytes);
  const outside = new Map<Piece, TensorProto>();
  const pieces = asDamaged(() =>
    replaceTensors(bytes, 'model', (tensor) => {
      const proto = readTensorProto(tensor);
      if (!proto.external) return undefined;
      const data = locate(folder, entry, proto);
      outside.set(data, proto);
      // raw_data, external_data and data_location go; the data comes as raw_data.
      const rest = replaceFields(tensor, (field) => (field === 9 || field === 13 || field === 14 ? [] : undefined));
      return [...rest, ...withPrefix(9, [data])];
    }),
  );
  const initializers = place(bytes, pieces, { model, outside });
  const tensors = new Set<Piece>(outside.keys());
  const emitted = emitPieces(pieces, (piece) => tensors.has(piece));
  const inside = initializers.filter(({ start, end }) => end > start).map(({ start, end }) => ({ start, end }));
  return {
    model: { ...model, initializers },
    emitted: {
      format: 'onnx',
      precision: precisionOf(initializers),
      entry: 'model.onnx',
      files: new Map([['model.onnx', { ...emitted, tensors: inside }]]),
      bindings: { serving_default: bindingsOf(model) },
      ops: model.ops,
    },
  };
}

/** The element type that most weight bytes have, among those a network computes with. */
function precisionOf(initializers: readonly OnnxInitializer[]): EmittedModel['precision'] {
  const bytes = new Map<EmittedModel['precision'], number>();
  for (const { dataType, start, end } of initializers) {
    const dtype = onnxDTypes[dataType];
    if (dtype !== 'float32' && dtype !== 'float16' && dtype !== 'uint8' && dtype !== 'int8') continue;
    bytes.set(dtype, (bytes.get(dtype) ?? 0) + end - start);
  }
  return [...bytes].reduce((most, entry) => (entry[1] > most[1] ? entry : most), ['float32', 0] as const)[0];
}

function bindingsOf({ inputs, outputs }: OnnxModel) {
  const bind = (tensors: OnnxModel['inputs']) =>
    Object.fromEntries(Object.entries(tensors).map(([name, { tensor }]) => [name, { tensor }]));
  return { inputs: bind(inputs), outputs: bind(outputs) };
}

/** The data of a weight in another file: within it, and exactly as long as the weight's shape says. */
function locate(folder: ModelFolder, entry: string, { name, dataType, shape, external = {} }: TensorProto): LazyPiece {
  const path = besides(entry, external['location'] ?? '', name);
  const file = folder.get(path);
  if (!file) {
    throw new NearfarError('not-found', `weight ${name} lies in ${path}, which the folder does not have`, {
      details: { format: 'onnx', name, path },
    });
  }
  const dtype = onnxDTypes[dataType];
  if (dtype === undefined || dtype === 'string') throw damaged(`weight ${name} of the element type ${dataType} lies in another file`);
  const want = elementCount(shape) * bytesPerElement(dtype);
  const offset = readPlace(external['offset'] ?? '0', name);
  const length = external['length'] === undefined ? want : readPlace(external['length'], name);
  if (length !== want) throw damaged(`weight ${name} of the shape [${shape}] has ${length} bytes, expected ${want}`);
  if (offset + length > file.byteLength) {
    throw damaged(`weight ${name} lies at ${offset} to ${offset + length} of ${path}, which has ${file.byteLength} bytes`);
  }
  return { byteLength: length, read: () => readPart(file, offset, length) };
}

function readPart(file: ModelFile, offset: number, length: number): Promise<Uint8Array> {
  return file.read(offset, offset + length);
}

function readPlace(text: string, name: string): number {
  const place = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(place)) return place;
  throw damaged(`weight ${name} has the place "${text.slice(0, 40)}" in another file`);
}

/** The path of a file named in the entry, which must lie in the entry's folder or below. */
function besides(entry: string, location: string, name: string): string {
  const parts = location.split('/').filter((part) => part !== '.' && part !== '');
  const isRelative = !location.startsWith('/') && !/[\\:\0]/.test(location) && parts.length > 0 && !parts.includes('..');
  if (!isRelative) throw damaged(`weight ${name} lies at "${location.slice(0, 100)}", expected a path inside of the model's folder`);
  return [...entry.split('/').slice(0, -1), ...parts].join('/');
}

interface Placed {
  readonly model: OnnxModel;
  readonly outside: ReadonlyMap<Piece, TensorProto>;
}

/** Where the initializers lie in the written file. */
function place(bytes: Uint8Array, pieces: readonly Piece[], { model, outside }: Placed): OnnxInitializer[] {
  const moved: { from: number; to: number; length: number }[] = [];
  const external = new Map<string, { start: number; end: number }>();
  let offset = 0;
  for (const piece of pieces) {
    const proto = outside.get(piece);
    if (proto) external.set(proto.name, { start: offset, end: offset + piece.byteLength });
    else if (piece instanceof Uint8Array && piece.buffer === bytes.buffer) {
      moved.push({ from: piece.byteOffset - bytes.byteOffset, to: offset, length: piece.byteLength });
    }
    offset += piece.byteLength;
  }
  let index = 0;
  return model.initializers.map((initializer) => {
    const { name, dataType, start, end } = initializer;
    if (end === start) return { name, dataType, ...(external.get(name) ?? { start: 0, end: 0 }) };
    // Both are in the order of the file.
    while (index < moved.length - 1 && start >= moved[index]!.from + moved[index]!.length) index += 1;
    const { from, to } = moved[index]!;
    return { name, dataType, start: start - from + to, end: end - from + to };
  });
}

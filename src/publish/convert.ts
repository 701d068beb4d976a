import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, rmdir } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import {
  checkOnnxOps,
  checkTfjsOps,
  type EmittedFile,
  type EmittedModel,
  type FoundModel,
  findModel,
  type ModelFolder,
  type ModelFormat,
  type ModelGraph,
  NearfarError,
  optimize,
  quantizeOnnx,
  readModelGraph,
  readOnnx,
  serializeError,
  shareInputs,
  withoutSignatures,
  writeOnnx,
  writeTfjsGraph,
} from '../core/index.ts';
import { openModel } from './read-source.ts';
import { collect } from './source-file.ts';

/** What a model can be written as; also the name of the folder its files are in. */
export type ConvertFormat = 'tfjs' | 'onnx';
export type ConvertPrecision = 'float32' | 'float16' | 'uint8';

export interface ConvertOptions {
  /** Folder that gets a folder per format. It must be empty or not there. */
  readonly out: string;
  /** @default both */
  readonly formats?: readonly ConvertFormat[] | undefined;
  /** How weights are stored. @default 'float32' */
  readonly precision?: ConvertPrecision | undefined;
  /** `none` writes the graph as it was read. @default 'all' */
  readonly optimize?: 'all' | 'none' | undefined;
  /** Signatures to write; an ONNX file holds only such as take the same inputs. @default all that can be run */
  readonly signatures?: readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called after each part that is written. */
  readonly onProgress?: ((writtenBytes: number, totalBytes: number) => void) | undefined;
}

export interface ConvertedFormat {
  readonly format: ConvertFormat;
  readonly precision: EmittedModel['precision'];
  /** Sizes by the path inside `out`. */
  readonly files: Readonly<Record<string, number>>;
  readonly bytes: number;
  readonly ops: readonly string[];
  /** The names of the file's own tensors, by signature. */
  readonly bindings: EmittedModel['bindings'];
  /** Where the format computes otherwise than the model says. */
  readonly notes: readonly string[];
  /** Signatures that are not in these files, with every reason. */
  readonly unusable: Readonly<Record<string, readonly string[]>>;
}

export interface ConvertReport {
  /** What the model was. */
  readonly source: ModelFormat;
  readonly out: string;
  readonly formats: readonly ConvertedFormat[];
  /** Formats that were wanted and cannot be. */
  readonly skipped: readonly { readonly format: ConvertFormat; readonly code: string; readonly message: string }[];
}

/**
 * Converts a model into the files of other formats, without golden examples, manifest or version: `tfjs/model.json` with
 * `tfjs/weights.bin`, and `onnx/model.onnx`. Weights are read, changed and written one at a time, so that a model may be larger than the
 * memory (but for ONNX files as the source, which are read whole).
 * @param source Path of a model file or of the folder that holds one, or the files themselves; what it is, is told by its content.
 * @throws {NearfarError} `already-exists` when `out` holds something; `unsupported`, with all reasons, when the model can be written in none
 * of the formats; `not-found`, `invalid-argument`, `integrity-mismatch` for the source; rejects with `signal.reason` when aborted. Nothing
 * is at `out` then.
 */
export async function convert(source: string | ModelFolder, options: ConvertOptions): Promise<ConvertReport> {
  const { out, formats = ['tfjs', 'onnx'], precision = 'float32', signal } = options;
  await assertVacant(out);
  const { folder, found } = typeof source === 'string' ? await openModel(source) : { folder: source, found: await findModel(source) };
  signal?.throwIfAborted();
  const { written, skipped } =
    found.format === 'onnx'
      ? await fromOnnx(folder, found, formats, precision)
      : await fromGraph(await readGraph(folder, found, options), formats, precision);
  if (written.length === 0) throw nothingWritten(skipped);
  signal?.throwIfAborted();
  await writeFolder(written, options);
  return { source: found.format, out, formats: written.map(describe), skipped };
}

type Skipped = ConvertReport['skipped'][number];

/** A model that is ready to be written: its bytes are made when they are. */
interface Written {
  readonly format: ConvertFormat;
  readonly model: EmittedModel;
  readonly unusable: Readonly<Record<string, readonly string[]>>;
}

interface Conversion {
  readonly written: readonly Written[];
  readonly skipped: readonly Skipped[];
}

async function readGraph(
  folder: ModelFolder,
  found: FoundModel,
  { signatures, optimize: passes = 'all' }: ConvertOptions,
): Promise<ModelGraph> {
  const whole = await readModelGraph(folder, found);
  return optimize(shareInputs(signatures ? pickSignatures(whole, signatures) : whole), { passes });
}

function pickSignatures(graph: ModelGraph, wanted: readonly string[]): ModelGraph {
  const names = Object.keys(graph.signatures);
  for (const name of wanted) {
    if (names.includes(name)) continue;
    const reasons = graph.unusable[name];
    const why = reasons ? `cannot be run: ${reasons.join('; ')}` : `is not there; the model has ${names.join(', ')}`;
    throw new NearfarError(reasons ? 'unsupported' : 'not-found', `the signature ${name} ${why}`, { details: { name, signatures: names } });
  }
  const others = names.filter((name) => !wanted.includes(name));
  return { ...withoutSignatures(graph, Object.fromEntries(others.map((name) => [name, []]))), unusable: {} };
}

/** Each format gets the signatures that it can express. */
async function fromGraph(graph: ModelGraph, formats: readonly ConvertFormat[], precision: ConvertPrecision): Promise<Conversion> {
  return attempt(formats, async (format) => {
    const usable = withoutSignatures(graph, await findProblems(format, graph));
    if (Object.keys(usable.signatures).length === 0) throw noSignature(usable.unusable);
    const model = await (format === 'onnx' ? writeOnnx : writeTfjsGraph)(usable, { precision });
    return { format, model, unusable: usable.unusable };
  });
}

async function findProblems(format: ConvertFormat, graph: ModelGraph): Promise<Readonly<Record<string, readonly string[]>>> {
  if (format === 'tfjs') return checkTfjsOps(graph);
  const problems: Record<string, readonly string[]> = {};
  for (const [name, signature] of Object.entries(graph.signatures)) {
    const found = await checkOnnxOps({ ...graph, signatures: { [name]: signature } });
    if (found.length > 0) problems[name] = found.map(({ op, node, reason }) => `${op} "${node}" ${reason}`);
  }
  return problems;
}

/** An ONNX file gets its external weights inside, and weights of fewer bits; it is not read into a graph. */
async function fromOnnx(
  folder: ModelFolder,
  { entry }: FoundModel,
  formats: readonly ConvertFormat[],
  precision: ConvertPrecision,
): Promise<Conversion> {
  return attempt(formats, async (format) => {
    if (format === 'tfjs') {
      throw new NearfarError('unsupported', 'an ONNX file is not converted to TensorFlow.js; convert what it was exported from');
    }
    const { emitted } = await readOnnx(folder, entry);
    if (precision === 'float32') return { format, model: emitted, unusable: {} };
    if (emitted.precision !== 'float32') {
      throw new NearfarError('unsupported', `the weights of the ONNX file are ${emitted.precision} already`);
    }
    const file = emitted.files.get(emitted.entry);
    if (!file) throw new NearfarError('internal', 'an ONNX model has one file');
    const quantized = quantizeOnnx(await collect(file), precision);
    return { format, model: { ...emitted, precision, files: new Map([[emitted.entry, quantized]]) }, unusable: {} };
  });
}

async function attempt(formats: readonly ConvertFormat[], write: (format: ConvertFormat) => Promise<Written>): Promise<Conversion> {
  const written: Written[] = [];
  const skipped: Skipped[] = [];
  for (const format of new Set(formats)) {
    try {
      written.push(await write(format));
    } catch (error) {
      if (!(error instanceof NearfarError) || error.code !== 'unsupported') throw error;
      const { code, message } = serializeError(error);
      skipped.push({ format, code, message });
    }
  }
  return { written, skipped };
}

function noSignature(unusable: Readonly<Record<string, readonly string[]>>): NearfarError {
  const reasons = Object.entries(unusable).flatMap(([name, list]) => list.map((reason) => `${name}: ${reason}`));
  return new NearfarError('unsupported', `no signature can be written: ${reasons.join('; ')}`, { details: { reasons } });
}

function nothingWritten(skipped: readonly Skipped[]): NearfarError {
  const reasons = skipped.map(({ format, message }) => `${format}: ${message}`);
  return new NearfarError('unsupported', `the model cannot be converted; ${reasons.join('; ')}`, {
    details: { skipped: skipped.map((each) => ({ ...each })) },
  });
}

async function assertVacant(out: string): Promise<void> {
  const entries = await readdir(out).catch((error: unknown) => {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENOENT') return [];
    throw alreadyThere(out, code === 'ENOTDIR' ? 'is a file' : `cannot be looked into (${code})`);
  });
  if (entries.length > 0) throw alreadyThere(out, `holds ${entries.length} files or folders`);
}

function alreadyThere(out: string, why: string): NearfarError {
  return new NearfarError('already-exists', `${out} ${why}; nothing is overwritten, name a folder that is empty or not there`, {
    details: { out },
  });
}

/** Everything is written beside `out` and gets its name in one step, so that nobody sees half of it. */
async function writeFolder(written: readonly Written[], { out, signal, onProgress }: ConvertOptions): Promise<void> {
  const target = resolve(out);
  const staging = `${target}.converting-${randomUUID()}`;
  const files = written.flatMap(({ format, model }) => [...model.files].map(([name, file]) => ({ path: join(format, name), file })));
  const totalBytes = files.reduce((sum, { file }) => sum + file.byteLength, 0);
  let writtenBytes = 0;
  const advance = (bytes: number) => {
    signal?.throwIfAborted();
    writtenBytes += bytes;
    onProgress?.(writtenBytes, totalBytes);
  };
  try {
    for (const { path, file } of files) await writeStreamed(join(staging, path), file, advance);
    // An empty folder may be there; one that was filled meanwhile is left alone.
    await rmdir(target).catch(() => undefined);
    await assertVacant(out);
    await rename(staging, target);
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

async function writeStreamed(path: string, { byteLength, read }: EmittedFile, advance: (bytes: number) => void): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await using file = await open(path, 'wx');
  let position = 0;
  for await (const part of read()) {
    await file.writeFile(part);
    position += part.byteLength;
    advance(part.byteLength);
  }
  if (position !== byteLength) throw new NearfarError('internal', `a writer announced ${byteLength} bytes and wrote ${position}`);
  await file.sync();
}

function describe({ format, model, unusable }: Written): ConvertedFormat {
  const { precision, ops, bindings, notes = [] } = model;
  const files = Object.fromEntries([...model.files].map(([name, { byteLength }]) => [`${format}/${name}`, byteLength]));
  const bytes = Object.values(files).reduce((sum, size) => sum + size, 0);
  return { format, precision, files, bytes, ops, bindings, notes, unusable };
}

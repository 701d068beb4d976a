import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { NearfarError } from '../../src/core/index.ts';
import { publish } from '../../src/publish/index.ts';
import { readSources } from '../../src/publish/read-source.ts';
import { openTempFolder } from './model-folder.ts';
import { initializer, message, node, onnxModel, scalingModel, valueInfo } from './onnx-writer.ts';
import { readEmitted } from './tfjs-graph-run.ts';

// Damaged and hostile model files at the door of `publish`, a few in `npm test`, many in the full run.

/** The files of one model by their paths, the folder's own or one file's. */
export type Files = ReadonlyMap<string, Uint8Array<ArrayBuffer>>;

export interface Format {
  readonly name: string;
  /** What is handed to `publish`; the folder when absent. */
  readonly entry?: string;
  readonly files: Files;
}

const fixtures = fileURLToPath(new URL('../fixtures', import.meta.url));

async function read(path: string): Promise<Files> {
  const entries = await readdir(join(fixtures, path), { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  return new Map(
    await Promise.all(
      files.sort().map(async (file) => [file.slice(join(fixtures, path).length + 1), new Uint8Array(await readFile(file))] as const),
    ),
  );
}

async function readOne(path: string, name: string): Promise<Files> {
  return new Map([[name, new Uint8Array(await readFile(join(fixtures, path)))]]);
}

/** A small model of each format. */
export async function smallModels(): Promise<readonly Format[]> {
  const { sources } = await readSources([join(fixtures, 'savedmodel/frozen/frozen.pb')], { formats: ['tfjs-graph'] });
  const graphModel = new Map<string, Uint8Array<ArrayBuffer>>();
  for (const [name, file] of sources[0]!.files) graphModel.set(name, await readEmitted(file));
  return [
    { name: 'SavedModel of TensorFlow 1', files: await read('savedmodel/ref_variables') },
    { name: 'SavedModel of TensorFlow 2', files: await read('savedmodel/shared') },
    { name: 'SavedModel with a vocabulary', files: await read('savedmodel/table_v1') },
    { name: 'GraphDef', entry: 'frozen.pb', files: await readOne('savedmodel/frozen/branches.pb', 'frozen.pb') },
    { name: 'GraphDef in text', entry: 'frozen.pbtxt', files: await readOne('savedmodel/frozen/frozen.pbtxt', 'frozen.pbtxt') },
    { name: '.h5', entry: 'model.h5', files: await readOne('keras/dense.h5', 'model.h5') },
    { name: '.keras', entry: 'model.keras', files: await readOne('keras/dense.keras', 'model.keras') },
    { name: 'LayersModel', files: layersModel() },
    { name: 'GraphModel', files: graphModel },
    { name: 'ONNX', entry: 'model.onnx', files: new Map([['model.onnx', scalingModel(2)]]) },
    { name: 'ONNX with external data', files: externalOnnx() },
  ];
}

/** One dense layer, as TensorFlow.js writes it. */
export function layersModel(shape: readonly number[] = [3, 2], path = 'weights.bin'): Files {
  const layer = {
    class_name: 'Dense',
    config: { name: 'dense', units: 2, activation: 'relu', use_bias: true, batch_input_shape: [null, 3], dtype: 'float32' },
  };
  const weights = [
    { name: 'dense/kernel', shape, dtype: 'float32' },
    { name: 'dense/bias', shape: [2], dtype: 'float32' },
  ];
  const document = {
    format: 'layers-model',
    modelTopology: { model_config: { class_name: 'Sequential', config: { name: 'm', layers: [layer] } }, keras_version: '2.4.0' },
    weightsManifest: [{ paths: [path], weights }],
  };
  return new Map([
    ['model.json', text(JSON.stringify(document))],
    ['weights.bin', new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6, 0.5, -0.5).buffer)],
  ]);
}

/** `y = x * factor` whose factor lies in another file. */
export function externalOnnx({ location = 'weights.data', offset = 4, length = 12, dims = [3] as readonly number[] } = {}): Files {
  const entry = (key: string, value: string) => message([...([[1, key]] as const), [2, value]]);
  const tensor = message([
    ...dims.map((size) => [1, size] as const),
    [2, 1],
    [8, 'factor'],
    [13, entry('location', location)],
    [13, entry('offset', String(offset))],
    [13, entry('length', String(length))],
    [14, 1],
  ]);
  const model = onnxModel([
    [1, node('Mul', ['x', 'factor'], ['y'])],
    [5, tensor],
    [11, valueInfo('x', 1, ['n', 3])],
    [12, valueInfo('y', 1, ['n', 3])],
  ]);
  return new Map([
    ['model.onnx', model],
    ['weights.data', new Uint8Array(Float32Array.of(9, 1, 2, 3).buffer)],
  ]);
}

/** An ONNX file whose only weight claims a shape. */
export function onnxWithShape(dims: readonly number[], input: readonly (number | string)[] = ['n', 3]): Files {
  const model = onnxModel([
    [1, node('Mul', ['x', 'factor'], ['y'])],
    [5, initializer('factor', 1, dims, new Uint8Array(12))],
    [11, valueInfo('x', 1, input)],
    [12, valueInfo('y', 1, input)],
  ]);
  return new Map([['model.onnx', model]]);
}

export function text(content: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(content);
}

/** Longest that one publication may take on the busiest machine; a small model takes some tenths of a second. */
const SOON_MS = 20_000;
/** More than any of these files may make the process hold. */
const MOST_BYTES = 1.5 * 2 ** 30;

/** What `publish` made of some files. */
export interface Outcome {
  readonly error: NearfarError | undefined;
  readonly ms: number;
}

/**
 * Publishes files into a repository that has a version already. Fails unless it is done soon, within bounds, and, where it is refused,
 * with a typed error and the repository as it was.
 */
export async function publishFiles({ entry, files }: Pick<Format, 'entry' | 'files'>, what: string): Promise<Outcome> {
  await using folder = await openTempFolder();
  const [model, repository] = [join(folder.path, 'inner/model'), join(folder.path, 'repository')];
  const secret = join(folder.path, 'inner/secret');
  await write(model, files);
  await write(join(folder.path, 'inner'), new Map([['secret', new Uint8Array(64)]]));
  await write(join(repository, 'm/1'), new Map([['manifest.json', text('{}')]]));
  const before = await snapshot(folder.path);
  const startedAt = performance.now();
  const rss = process.memoryUsage().rss;
  const error = await publish([entry === undefined ? model : join(model, entry)], { name: 'other', repository }).then(
    () => undefined,
    (cause: unknown) => cause,
  );
  const ms = performance.now() - startedAt;
  expect(ms, `${what}: milliseconds`).toBeLessThan(SOON_MS);
  expect(process.memoryUsage().rss - rss, `${what}: bytes`).toBeLessThan(MOST_BYTES);
  if (error === undefined) await rm(join(repository, 'other'), { recursive: true });
  else if (!(error instanceof NearfarError)) throw new Error(`${what}: no typed error`, { cause: error });
  expect(await snapshot(folder.path), what).toEqual(before);
  expect((await readFile(secret)).byteLength).toBe(64);
  return { error: error as NearfarError | undefined, ms };
}

async function write(folder: string, files: Files): Promise<void> {
  for (const [name, bytes] of files) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), bytes);
  }
}

async function snapshot(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const lines = entries.map(async (entry) => {
    const path = join(entry.parentPath, entry.name);
    return entry.isFile() ? `${path} ${(await readFile(path)).toString('base64')}` : path;
  });
  return (await Promise.all(lines)).sort();
}

/** A damaged copy: the same for the same seed. */
export function damage(files: Files, seed: number): { files: Files; what: string } {
  const next = random(seed);
  const names = [...files.keys()].sort();
  const name = names[next() % names.length]!;
  const bytes = files.get(name)!;
  const changed = bytes.slice();
  const at = bytes.byteLength === 0 ? 0 : next() % bytes.byteLength;
  let what: string;
  switch (next() % 4) {
    case 0:
      what = `cut at ${at}`;
      return { files: new Map([...files, [name, bytes.slice(0, at)]]), what: `${name} ${what}` };
    case 1:
      changed[at]! ^= 1 << (next() % 8);
      what = `a bit of ${at} flipped`;
      break;
    case 2: {
      const length = 1 + (next() % 8);
      const value = [0, 0xff, 0x7f, 0x80][next() % 4]!;
      changed.fill(value, at, at + length);
      what = `${length} bytes from ${at} set to ${value}`;
      break;
    }
    default: {
      const from = next() % Math.max(1, bytes.byteLength);
      const length = 1 + (next() % 64);
      changed.set(bytes.subarray(from, Math.min(from + length, bytes.byteLength, from + bytes.byteLength - at)), at);
      what = `${length} bytes of ${from} copied to ${at}`;
    }
  }
  return { files: new Map([...files, [name, changed]]), what: `${name}: ${what}` };
}

/** xorshift32. */
function random(seed: number): () => number {
  let state = (seed * 2_654_435_761) | 1;
  const next = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
  for (let skipped = 0; skipped < 16; skipped++) next();
  return next;
}

/** Damages a model in many ways. @returns how many were refused, by code. */
export async function fuzz(format: Format, seeds: readonly number[]): Promise<Record<string, number>> {
  const codes: Record<string, number> = {};
  for (const seed of seeds) {
    const { files, what } = damage(format.files, seed);
    const { error } = await publishFiles({ ...format, files }, `${format.name}, seed ${seed}: ${what}`);
    // `internal` would be an error of ours: what is wrong with the file was not said.
    expect(error?.code, `${format.name}, seed ${seed}: ${what}: ${error?.message}`).not.toBe('internal');
    const code = error?.code ?? 'published';
    codes[code] = (codes[code] ?? 0) + 1;
  }
  return codes;
}

import { createHash, randomUUID } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, parse } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type AnyTensor, createTensor, type Manifest, type Pin, parseManifest, parseVersions } from '../../src/core/index.ts';
import { publish } from '../../src/publish/index.ts';
import { decodeImage } from '../../src/server/media/index.ts';
import { initializer, node, onnxModel, valueInfo } from './onnx-writer.ts';
import { sharedData } from './shared-data.ts';

// The versions that parity is shown with, published by `publish` as a user would.

/** One published version of one model, in a repository of its own. */
export interface ParityModel {
  /** Folder of the repository. */
  readonly repository: string;
  readonly manifest: Manifest;
  readonly pin: Pin;
}

const builtInModels = fileURLToPath(new URL('../../models', import.meta.url));

export function builtInEveryday10(): Promise<ParityModel> {
  return openModel(builtInModels, 'everyday10');
}

const imageNet = {
  shorterSide: 256,
  crop: [224, 224],
  mean: [0.485, 0.456, 0.406],
  std: [0.229, 0.224, 0.225],
} as const;

/** MobileNetV2 from a GraphModel (NHWC, two outputs) and an ONNX file (NCHW, logits); undefined where the shared data is absent. */
export async function publishMobileNetV2(): Promise<ParityModel | undefined> {
  const graph = sharedData('tfjs/mobilenetv2-dq-graph');
  const onnx = sharedData('onnx/mobilenetv2-dq-fp32');
  const labels = sharedData('labels/imagenet1000.json');
  if (graph === undefined || onnx === undefined || labels === undefined) return undefined;
  const repository = await openCached('mobilenetv2', [graph, onnx, labels], async (folder) => {
    await publish([graph, onnx], {
      name: 'mobilenetv2',
      repository: folder,
      rename: { 'Identity:0': 'logits', Identity_1: 'probabilities' },
      task: { task: 'image-classification', labels: new Uint8Array(await readFile(labels)), ...imageNet },
    });
  });
  return openModel(repository, 'mobilenetv2');
}

/**
 * MobileNetV2 from its SavedModel as TensorFlow.js and ONNX, in some precisions, the variants compared on all shared photos; undefined where
 * the shared data is absent. The measurements are in its report.json.
 */
export async function publishMobileNetV2Variants(
  precisions: readonly ('float32' | 'float16' | 'uint8')[],
): Promise<ParityModel | undefined> {
  const folder = sharedData('savedmodel/mobilenetv2_dq/1');
  const labels = sharedData('labels/imagenet1000.json');
  if (folder === undefined || labels === undefined) return undefined;
  const name = 'mobilenetv2-variants';
  const repository = await openCached([name, ...precisions].join('-'), [folder, labels], async (out) => {
    const samples = await Promise.all(sharedPhotos().map(({ photo }) => decodeImage(new Uint8Array(readFileSync(photo)))));
    await publish([folder], {
      name,
      repository: out,
      precisions,
      samples,
      task: { task: 'image-classification', output: 'probabilities', labels: new Uint8Array(await readFile(labels)), ...imageNet },
    });
  });
  return openModel(repository, name);
}

/**
 * A classifier whose classes are the values of its input tensor, multiplied by one: `classify` with a `topK` of all classes
 * gives the very float32 numbers that the engine was handed, through the whole public path. Pictures as for ImageNet.
 * @param layout Of the input, so of the order of the values.
 */
export async function publishTensorEcho(layout: 'NHWC' | 'NCHW'): Promise<ParityModel> {
  const name = `echo-${layout.toLowerCase()}`;
  const repository = await openCached(name, [], async (folder) => {
    const source = join(folder, 'model.onnx');
    const shape = layout === 'NHWC' ? ['n', 224, 224, 3] : ['n', 3, 224, 224];
    const model = onnxModel([
      [1, node('Mul', ['x', 'one'], ['product'])],
      [1, node('Flatten', ['product'], ['y'])],
      [5, initializer('one', 1, [1], new Uint8Array(Float32Array.of(1).buffer))],
      [11, valueInfo('x', 1, shape)],
      [12, valueInfo('y', 1, ['n', 224 * 224 * 3])],
    ]);
    await writeFile(source, model);
    await publish([source], { name, repository: folder, task: { task: 'image-classification', activation: 'none', ...imageNet } });
  });
  return openModel(repository, name);
}

async function openModel(repository: string, name: string): Promise<ParityModel> {
  const read = async (path: string) => new Uint8Array(await readFile(join(repository, name, path)));
  const [pin] = parseVersions(await read('versions.json')).versions;
  if (!pin) throw new Error(`${name} has no version in ${repository}`);
  return { repository, pin, manifest: parseManifest(await read(`${pin.version}/manifest.json`)) };
}

const cache = join(tmpdir(), 'nearfar-test-models');

/** What publishing depends on; another content means publishing again. */
const rooms = ['core', 'engines', 'publish'].map((room) => fileURLToPath(new URL(`../../src/${room}`, import.meta.url)));

/** A repository in the temporary folder, published once for the same sources and the same code. */
async function openCached(name: string, sources: readonly string[], fill: (folder: string) => Promise<void>): Promise<string> {
  const self = fileURLToPath(import.meta.url);
  const folder = join(cache, `${name}-${digestOfFiles([...rooms, ...sources, self])}`);
  if (existsSync(folder)) return folder;
  await mkdir(cache, { recursive: true });
  await removeOld();
  const unfinished = `${folder}.${randomUUID()}`;
  await mkdir(unfinished);
  await fill(unfinished);
  // Two test files may publish at once: the first rename wins, the other copy is dropped.
  await rename(unfinished, folder).catch(() => rm(unfinished, { recursive: true, force: true }));
  return folder;
}

function digestOfFiles(paths: readonly string[]): string {
  const hash = createHash('sha256');
  for (const path of paths) for (const file of filesOf(path)) hash.update(file).update(readFileSync(file));
  return hash.digest('hex').slice(0, 24);
}

function filesOf(path: string): string[] {
  if (statSync(path).isFile()) return [path];
  const entries = readdirSync(path, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

async function removeOld(): Promise<void> {
  const dayAgo = Date.now() - 24 * 3600_000;
  for (const name of await readdir(cache)) {
    const path = join(cache, name);
    if ((await stat(path)).mtimeMs < dayAgo) await rm(path, { recursive: true, force: true });
  }
}

/** One photo of the shared data. */
export interface SharedPhoto {
  readonly name: string;
  /** The JPEG as it was found, for the whole path. */
  readonly photo: string;
  /** Resized and cropped by Pillow, lossless. */
  readonly prepared: string;
}

/** The photos of the shared data, as their expected results list them. */
export function sharedPhotos(): readonly SharedPhoto[] {
  const images = sharedData('images');
  const prepared = sharedData('prepared/224');
  if (images === undefined || prepared === undefined) return [];
  return readdirSync(images).map((file) => {
    const { name } = parse(file);
    return { name, photo: join(images, file), prepared: join(prepared, `${name}.png`) };
  });
}

/** What a library said about a photo when the shared data was measured. */
export interface ExpectedAnswer {
  readonly probabilities: AnyTensor;
  /** Best class, and how far ahead of the second it is. */
  readonly top: { readonly index: number; readonly label: string; readonly margin: number };
}

/**
 * Results measured by the reference library of a format, by photo: the probabilities are the softmax, in doubles, of the logits
 * that TensorFlow (for tfjs) or ONNX Runtime gave.
 */
export function expectedMobileNetV2(library: 'tfjs' | 'onnx'): ReadonlyMap<string, ExpectedAnswer> {
  const [answers, logits] = {
    tfjs: ['tfjs-mobilenetv2-dq-graph.json', 'savedmodel-mobilenetv2_dq'] as const,
    onnx: ['onnx-mobilenetv2-dq-fp32.json', 'onnx-mobilenetv2-dq-fp32'] as const,
  }[library];
  const { top5 }: { top5: Record<string, { index: number; label: string; probability: number }[]> } = readJson(answers);
  const { images }: { images: string[] } = readJson(`${logits}.json`);
  const rows = new Float32Array(new Uint8Array(readFileSync(expectedPath(`${logits}.logits.f32`))).buffer);
  return new Map(
    images.map((photo, row) => {
      const [best, second] = top5[photo] ?? [];
      if (!best || !second) throw new Error(`${answers} has no answer for ${photo}`);
      const probabilities = createTensor('float32', [1000], softmax(rows.subarray(row * 1000, (row + 1) * 1000)));
      return [photo, { probabilities, top: { ...best, margin: best.probability - second.probability } }];
    }),
  );
}

function expectedPath(file: string): string {
  const path = sharedData(`expected/${file}`);
  if (path === undefined) throw new Error(`expected/${file} is absent`);
  return path;
}

function readJson<T>(file: string): T {
  return JSON.parse(readFileSync(expectedPath(file), 'utf8'));
}

function softmax(logits: Float32Array): Float32Array<ArrayBuffer> {
  const largest = logits.reduce((a, b) => Math.max(a, b));
  const powers = Array.from(logits, (logit) => Math.exp(logit - largest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return Float32Array.from(powers, (power) => power / sum);
}

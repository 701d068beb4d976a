import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describeFile, digestOf, encodeManifest, type Manifest, type VariantSource } from '../../src/core/index.ts';
import { bool, graphSource, ints, node, placeholder, text, type, weight } from './graph-models.ts';
import { writeVersion, writeVersionsFile } from './model-folder.ts';
import { tinyOnnx } from './tiny-models.ts';

const signature = 'serving_default';
export const tokenizer: Uint8Array<ArrayBuffer> = new Uint8Array(
  readFileSync(new URL('../fixtures/text/bert-uncased.json', import.meta.url)),
);

/** Writes a repository with a text classifier (TensorFlow.js, `pets`) and a regression of rows (ONNX, `ages`); returns their digests. */
export async function writeTaskModels(folder: string): Promise<{ pets: string; ages: string }> {
  const pets = await publishSource(
    folder,
    'pets',
    catsAndDogs(),
    {
      signatures: {
        [signature]: {
          method: 'predict',
          inputs: { ids: { dtype: 'int32', shape: [-1, -1] } },
          outputs: { logits: { dtype: 'float32', shape: [-1, 2] } },
        },
      },
      tasks: {
        'text-classification': {
          signature,
          input: { tokenizer: 'tokenizer.json', padding: 'longest', ids: 'ids' },
          output: { name: 'logits', activation: 'softmax', labels: 'labels.txt' },
        },
      },
    },
    { 'tokenizer.json': tokenizer, 'labels.txt': new TextEncoder().encode('cat\ndog\n') },
  );
  const identity = tinyOnnx('float32', 'Identity', { rank: 2 });
  const ages = await publishSource(
    folder,
    'ages',
    identity,
    {
      signatures: identity.manifest.signatures,
      tasks: {
        'tabular-regression': {
          signature,
          input: { columns: [{ name: 'age', input: 'x', transform: { kind: 'standard', mean: 40, std: 10 } }] },
          output: { name: 'y', scale: 100, offset: 7 },
        },
      },
    },
    {},
  );
  return { pets, ages };
}

const filter = { filter: 'bilinear' as const, antialias: true as const };
const unit = { layout: 'NHWC' as const, scale: 1 / 255, mean: [0, 0, 0], std: [1, 1, 1] };
/** Pictures keep their aspect ratio, black around them. */
const framed = { name: 'image', resize: { letterbox: [16, 16], fill: 0, align: 'centre', ...filter }, ...unit };

const whole = { name: 'image', resize: { size: [16, 16] as [number, number], ...filter }, crop: [16, 16] as [number, number], ...unit };

/** Writes a repository with a model of every task of pictures (TensorFlow.js, `colours`); returns its digest. */
export async function writePictureModel(folder: string): Promise<string> {
  const image = { dtype: 'float32' as const, shape: [-1, 16, 16, 3] };
  const outputs = { boxes: [-1, 49, 4], scores: [-1, 49, 3], channels: [-1, 16, 16, 3], negative: [-1, 16, 16, 3], mean: [-1, 3] };
  const infos = Object.entries(outputs).map(([name, shape]) => [name, { dtype: 'float32' as const, shape }]);
  const labels = 'labels.txt';
  return publishSource(
    folder,
    'colours',
    colours(),
    {
      signatures: { [signature]: { method: 'predict', inputs: { image }, outputs: Object.fromEntries(infos) } },
      tasks: {
        'object-detection': {
          signature,
          input: framed,
          output: {
            boxFormat: 'yxyx',
            coordinates: 'relative',
            activation: 'none',
            suppression: { iouThreshold: 0.1, across: 'class' },
            scoreThreshold: 0.5,
            maxDetections: 10,
            labels,
            tensors: { boxes: 'boxes', scores: 'scores' },
          },
        },
        'image-segmentation': { signature, input: framed, output: { name: 'channels', layout: 'NHWC', labels } },
        'image-to-image': { signature, input: framed, output: { name: 'negative', size: 'picture', ...unit } },
        'image-classification': { signature, input: whole, output: { name: 'mean', activation: 'none' as const, labels } },
        embeddings: {
          signature,
          input: whole,
          output: { name: 'mean', pooling: 'none', normalise: true },
        },
      },
    },
    { [labels]: new TextEncoder().encode('red\ngreen\nblue\n') },
  );
}

/** A green and a blue square on black, with what the model of pictures must say about them. */
export const squares = {
  width: 64,
  height: 32,
  detections: ['green', 'blue'].map((label, index) => ({
    label,
    index: index + 1,
    // Four pixels a side in the model's frame, of which the outer ones have an eighth of the black beside them.
    score: 0.9375 ** 2,
    box: { xmin: 8 + 32 * index, ymin: 8, xmax: 24 + 32 * index, ymax: 24 },
  })),
  // Six pixels a side with those into which a square shines; where nothing shines the first class is the best.
  segments: [896, 576, 576].map((pixels, index) => ({ label: ['red', 'green', 'blue'][index], index, pixels })),
  vector: [0, Math.SQRT1_2, Math.SQRT1_2],
};

/** As PNG. */
export async function drawSquares(): Promise<Buffer> {
  const { default: sharp } = await import('sharp');
  const square = (background: string, left: number) => {
    return { input: { create: { width: 16, height: 16, channels: 3 as const, background } }, left, top: 8 };
  };
  return sharp({ create: { width: squares.width, height: squares.height, channels: 3, background: '#000' } })
    .composite([square('#0f0', 8), square('#00f', 40)])
    .png()
    .toBuffer();
}

/** Finds what is red, green or blue: the mean of each channel under windows of 4 by 4 pixels, and the channels themselves. */
export function colours(): VariantSource {
  const float = type('float32');
  const pooling = { T: float, ksize: ints([1, 4, 4, 1]), strides: ints([1, 2, 2, 1]), padding: text('VALID'), data_format: text('NHWC') };
  const windows = Array.from({ length: 49 }, (_, index) => [2 * Math.floor(index / 7), 2 * (index % 7)] as const);
  const reducing = { T: float, Tidx: type('int32') };
  return graphSource({
    nodes: [
      placeholder('image', 'float32', [-1, 16, 16, 3]),
      node('means', 'AvgPool', ['image'], pooling),
      node('cells', 'Reshape', ['means', 'shape'], { T: float, Tshape: type('int32') }),
      node('scores', 'Identity', ['cells'], { T: float }),
      node('mean', 'Mean', ['image', 'sides'], { ...reducing, keep_dims: bool(false) }),
      node('each', 'Max', ['cells', 'values'], { ...reducing, keep_dims: bool(true) }),
      node('nothing', 'Mul', ['each', 'zero'], { T: float }),
      node('boxes', 'AddV2', ['nothing', 'windows'], { T: float }),
      node('channels', 'Mul', ['image', 'two'], { T: float }),
      node('negative', 'Sub', ['one', 'image'], { T: float }),
    ],
    weights: [
      weight('shape', 'int32', [3], [-1, 49, 3]),
      weight('sides', 'int32', [2], [1, 2]),
      weight('values', 'int32', [1], [2]),
      weight('zero', 'float32', [], [0]),
      weight('one', 'float32', [], [1]),
      weight('two', 'float32', [], [2]),
      weight(
        'windows',
        'float32',
        [1, 49, 4],
        windows.flatMap(([top, left]) => [top, left, top + 4, left + 4].map((side) => side / 16)),
      ),
    ],
    signatures: {
      [signature]: {
        inputs: { image: 'float32' },
        outputs: { boxes: 'float32', scores: 'float32', channels: 'float32', negative: 'float32', mean: 'float32' },
      },
    },
  });
}

/** Publishes a model as its version 1, with what its tasks read; returns its digest. */
export async function publishSource(
  folder: string,
  name: string,
  { manifest: base, variant, readFile }: VariantSource,
  about: Partial<Pick<Manifest, 'tasks' | 'signatures'>> = {},
  taskFiles: Readonly<Record<string, Uint8Array<ArrayBuffer>>> = {},
): Promise<string> {
  const files = new Map(Object.entries(taskFiles));
  for (const path of variant.files) files.set(path, await readFile(path));
  const described = await Promise.all([...files].map(async ([path, bytes]) => [path, await describeFile(bytes)] as const));
  const manifest: Manifest = { ...base, ...about, name, variants: [variant], files: Object.fromEntries(described) };
  const bytes = encodeManifest(manifest);
  const digest = await digestOf(bytes);
  await writeVersion(join(folder, name, '1'), { manifest, digest, files: files.set('manifest.json', bytes) });
  await writeVersionsFile(join(folder, name), name, [{ version: '1', digest }]);
  return digest;
}

/** Cats or dogs: the score of each token's class, the best of all tokens. */
export function catsAndDogs(): VariantSource {
  const { vocab } = JSON.parse(new TextDecoder().decode(tokenizer)).model as { vocab: Record<string, number> };
  const rows = Array.from({ length: Object.keys(vocab).length + 2 }, () => [0, 0]);
  rows[vocab['cat']!] = [9, 0];
  rows[vocab['dog']!] = [0, 9];
  return graphSource({
    nodes: [
      placeholder('ids', 'int32', [-1, -1]),
      node('vectors', 'GatherV2', ['embedding', 'ids', 'axis0'], {
        Tparams: type('float32'),
        Tindices: type('int32'),
        Taxis: type('int32'),
      }),
      node('logits', 'Max', ['vectors', 'axis1'], { T: type('float32'), Tidx: type('int32'), keep_dims: bool(false) }),
    ],
    weights: [
      weight('embedding', 'float32', [rows.length, 2], rows.flat()),
      weight('axis0', 'int32', [], [0]),
      weight('axis1', 'int32', [], [1]),
    ],
    signatures: { [signature]: { inputs: { ids: 'int32' }, outputs: { logits: 'float32' } } },
  });
}

import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Manifest, parseManifest, type Variant, type VariantSource } from '../../src/core/index.ts';
import { demoModel, sharedData } from './shared-data.ts';

/** A model for engine tests: the same weights as a tfjs GraphModel and as ONNX, under one signature. */
export interface TestModel {
  readonly manifest: Manifest;
  /** The variant that an engine of this library can run. */
  source(library: 'tfjs' | 'onnx'): VariantSource;
}

interface ModelFiles {
  readonly name: string;
  readonly inputs: Manifest['signatures'][string]['inputs'];
  readonly outputs: Manifest['signatures'][string]['outputs'];
  /** Path of each variant's entry on disk; files beside it are found by their names. */
  readonly entries: Readonly<Record<'tfjs' | 'onnx', string>>;
  readonly tfjsFiles: readonly string[];
  readonly bindings: Readonly<Record<'tfjs' | 'onnx', NonNullable<Variant['bindings']>[string]>>;
}

export function createTestModel({ name, inputs, outputs, entries, tfjsFiles, bindings }: ModelFiles): TestModel {
  const variant = (library: 'tfjs' | 'onnx'): Variant => ({
    id: `${library}-float32`,
    format: library === 'tfjs' ? 'tfjs-graph' : 'onnx',
    precision: 'float32',
    entry: library === 'tfjs' ? 'tfjs/model.json' : 'onnx/model.onnx',
    files: library === 'tfjs' ? ['tfjs/model.json', ...tfjsFiles.map((file) => `tfjs/${file}`)] : ['onnx/model.onnx'],
    requires: [],
    bindings: { serving_default: bindings[library] },
    tolerance: { absolute: 1e-4, relative: 1e-3 },
  });
  const manifest: Manifest = {
    schemaVersion: 1,
    name,
    version: '1',
    signatures: { serving_default: { method: 'predict', inputs, outputs } },
    variants: [variant('tfjs'), variant('onnx')],
    files: {},
    golden: [],
  };
  return {
    manifest,
    source: (library) => ({
      manifest,
      variant: variant(library),
      readFile: async (path) => new Uint8Array(await readFile(join(dirname(entries[library]), path.slice(path.indexOf('/') + 1)))),
    }),
  };
}

/** The built-in model as it is published: `image` float32 [-1,32,32,3] to `probabilities` float32 [-1,10]. */
export async function everyday10(): Promise<TestModel> {
  const manifest = parseManifest(await readFile(join(builtIn, 'manifest.json')));
  return {
    manifest,
    source(library) {
      const variant = manifest.variants.find(({ format }) => format.startsWith(library));
      if (variant === undefined) throw new Error(`everyday10 has no variant for ${library}`);
      return { manifest, variant, readFile: async (path) => new Uint8Array(await readFile(join(builtIn, path))) };
    },
  };
}

const builtIn = fileURLToPath(new URL('../../models/everyday10/1', import.meta.url));

/** Held-back CIFAR-10 pictures with the classes they show and the probabilities TensorFlow gave. */
export interface Sample {
  /** Tensor values of pictures `from` up to `to`, float32 NHWC. */
  images(from: number, to: number): Float32Array;
  readonly count: number;
  readonly labels: readonly number[];
  readonly probabilities: readonly (readonly number[])[];
}

export async function everyday10Sample(): Promise<Sample | undefined> {
  const data = demoModel('everyday10/sample.bin');
  const about = demoModel('everyday10/sample.json');
  if (data === undefined || about === undefined) return undefined;
  const pixels = await readFile(data);
  const { labels, probabilities }: Pick<Sample, 'labels' | 'probabilities'> = JSON.parse(await readFile(about, 'utf8'));
  const size = 32 * 32 * 3;
  return {
    images: (from, to) => Float32Array.from(pixels.subarray(from * size, to * size), (pixel) => pixel / 255),
    count: labels.length,
    labels,
    probabilities,
  };
}

/** MobileNetV2 with outputs `logits` and `probabilities`; its ONNX variant is NCHW and gives logits only. */
export function mobileNetV2(): TestModel | undefined {
  const tfjs = sharedData('tfjs/mobilenetv2-dq-graph/model.json');
  const onnx = sharedData('onnx/mobilenetv2-dq-fp32/model.onnx');
  if (tfjs === undefined || onnx === undefined) return undefined;
  return createTestModel({
    name: 'mobilenetv2',
    inputs: { input: { dtype: 'float32', shape: [-1, 224, 224, 3] } },
    outputs: { logits: { dtype: 'float32', shape: [-1, 1000] }, probabilities: { dtype: 'float32', shape: [-1, 1000] } },
    entries: { tfjs, onnx },
    tfjsFiles: [1, 2, 3, 4].map((shard) => `group1-shard${shard}of4.bin`),
    bindings: {
      tfjs: { outputs: { logits: { tensor: 'Identity:0' }, probabilities: { tensor: 'Identity_1:0' } } },
      onnx: {
        inputs: { input: { tensor: 'input', layout: 'NCHW' } },
        outputs: { logits: { tensor: 'output' }, probabilities: { tensor: 'output', activation: 'softmax' } },
      },
    },
  });
}

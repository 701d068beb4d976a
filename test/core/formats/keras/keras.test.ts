import { readFile } from 'node:fs/promises';
import * as tf from '@tensorflow/tfjs';
import { strFromU8, unzipSync, zipSync } from 'fflate';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import type { ModelFolder } from '../../../../src/core/formats/model-folder.ts';
import { isHdf5, isKerasArchive, isLayersModel, readKeras } from '../../../../src/core/index.ts';
import { sharedData } from '../../../support/shared-data.ts';
import { memoryFile } from '../../../support/tfjs-graph-run.ts';
import { differences, fixtureBytes, fixtureFile, type Recorded, readFixture, runGraph } from './keras-fixture.ts';

const models = [
  'dense',
  'sequential',
  'nested',
  'convolution',
  'sequence',
  'activations',
  'recurrent',
  'loops',
  'masked',
  'attention',
  'channels_first',
  'operations',
  'keras2-graph',
  'keras2-chain',
];

describe('answers as Keras does, within 1e-5 of the largest value', () => {
  test.each(models)('%s', async (name) => {
    const { files, feeds, outputs } = await readFixture(name);
    for (const file of files) {
      const graph = await readKeras(await fixtureFile(file));

      const got = await runGraph(graph, feeds);

      const wrong = Object.entries(differences(outputs, got)).filter(([, difference]) => !(difference <= 1e-5));
      expect(wrong, file).toEqual([]);
      expect(Object.keys(got).sort(), file).toEqual(Object.keys(outputs).sort());
    }
  });
});

test('names inputs and outputs by their layers, and keeps shapes and dtypes', async () => {
  const { signatures } = await readKeras(await fixtureFile('nested.h5'));

  expect(Object.keys(signatures)).toEqual(['serving_default']);
  expect(signatures['serving_default']?.inputs).toMatchObject({
    left: { dtype: 'float32', shape: [-1, 4] },
    right: { dtype: 'float32', shape: [-1, 4] },
  });
  expect(signatures['serving_default']?.outputs).toMatchObject({
    shared: { dtype: 'float32', shape: [-1, 2] },
    shared_1: { dtype: 'float32', shape: [-1, 2] },
    joint: { dtype: 'float32', shape: [-1, 2] },
  });
});

test('reads an unpacked .keras folder, and weights only when they are asked for', async () => {
  const { feeds, outputs } = await readFixture('masked');
  const members = unzipSync(await fixtureBytes('masked.keras'));
  const folder: ModelFolder = new Map(Object.entries(members).map(([name, bytes]) => [name, memoryFile(new Uint8Array(bytes))]));

  const graph = await readKeras(folder);

  expect(await isKerasArchive(folder)).toBe(true);
  expect(Object.values(differences(outputs, await runGraph(graph, feeds))).every((difference) => difference <= 1e-5)).toBe(true);
});

test('gives equal nodes for equal files', async () => {
  const [first, second] = [
    await readKeras(await fixtureFile('convolution.keras')),
    await readKeras(await fixtureFile('convolution.keras')),
  ];

  expect([...first.nodes.keys()]).toEqual([...second.nodes.keys()]);
});

describe('recognition by content', () => {
  test('tells the forms apart', async () => {
    expect(isHdf5(await fixtureBytes('dense.h5'))).toBe(true);
    expect(isHdf5(await fixtureBytes('dense.keras'))).toBe(false);
    expect(await isKerasArchive(await fixtureFile('dense.keras'))).toBe(true);
    expect(await isKerasArchive(await fixtureFile('dense.h5'))).toBe(false);
    expect(await isKerasArchive(memoryFile(new Uint8Array(zipSync({ 'a.txt': Uint8Array.of(1) }))))).toBe(false);
    const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
    expect(isLayersModel(json({ format: 'layers-model', modelTopology: { model_config: {} }, weightsManifest: [] }))).toBe(true);
    expect(isLayersModel(json({ modelTopology: { node: [] }, weightsManifest: [] }))).toBe(false);
    expect(isLayersModel(Uint8Array.of(1, 2, 3))).toBe(false);
  });
});

interface Layer {
  readonly class_name: string;
  readonly config: Record<string, unknown>;
}

describe('what is refused', () => {
  test('custom layers and Lambda, all of them at once', async () => {
    const reading = readKeras(await fixtureFile('refused.keras'));

    await expect(reading).rejects.toMatchObject({
      code: 'unsupported',
      details: {
        problems: [
          expect.stringContaining('layer "odd" is of the class mine>Odd'),
          expect.stringContaining('layer "lambda" is of the class Lambda'),
        ],
      },
    });
  });

  test('files that hold weights alone', async () => {
    await expect(readKeras(await fixtureFile('only.weights.h5'))).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('weights alone'),
    });
  });

  test('quantised layers, float64, settings and subclassed models', async () => {
    const refusalOf = async (change: (layer: Layer) => void) => {
      const members = unzipSync(await fixtureBytes('dense.keras'));
      const config = JSON.parse(strFromU8(members['config.json']!));
      for (const layer of config.config.layers) change(layer);
      members['config.json'] = new TextEncoder().encode(JSON.stringify(config));
      return readKeras(memoryFile(new Uint8Array(zipSync(members)))).then(
        () => 'nothing',
        (error: Error) => error.message,
      );
    };
    const setting = (className: string, name: string, value: unknown) => (layer: Layer) => {
      if (layer.class_name === className) layer.config[name] = value;
    };
    const policy = (name: string, className = 'DTypePolicy') => setting('Dense', 'dtype', { class_name: className, config: { name } });

    expect(await refusalOf(policy('float64'))).toContain('layer "first" computes in float64');
    expect(await refusalOf(policy('int8_from_float32', 'QuantizedDTypePolicy'))).toContain('layer "first" is quantised');
    expect(await refusalOf(policy('mixed_float16'))).toBe('nothing');
    expect(await refusalOf(setting('Dense', 'activation', 'odd'))).toContain('activation odd');
    expect(await refusalOf(setting('BatchNormalization', 'renorm', true))).toContain('renorm');
    const subclassed = zipSync({
      'config.json': new TextEncoder().encode(JSON.stringify({ class_name: 'Mine', config: { units: 1 } })),
      'model.weights.h5': unzipSync(await fixtureBytes('dense.keras'))['model.weights.h5']!,
    });
    await expect(readKeras(memoryFile(new Uint8Array(subclassed)))).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('class Mine'),
    });
  });

  test('an archive whose config has another checksum', async () => {
    const bytes = await fixtureBytes('dense.keras');
    const at = strFromU8(bytes, true).indexOf('"units": 8');
    expect(at).toBeGreaterThan(0);

    await expect(readKeras(memoryFile(bytes.with(at + 9, 0x39)))).rejects.toMatchObject({ code: 'integrity-mismatch' });
  });
});

describe('LayersModels', () => {
  test('answer as tfjs-layers does', async () => {
    await tf.setBackend('cpu');
    const x = tf.input({ shape: [6, 3], name: 'x' });
    const apply = (layer: tf.layers.Layer, to: tf.SymbolicTensor) => layer.apply(to) as tf.SymbolicTensor;
    const { layers } = tf;
    const ends = [
      apply(layers.lstm({ units: 2, recurrentActivation: 'hardSigmoid', returnSequences: true }), x),
      apply(layers.gru({ units: 2 }), x),
      apply(layers.bidirectional({ layer: layers.simpleRNN({ units: 2, returnSequences: false }), mergeMode: 'concat' }), x),
      apply(layers.timeDistributed({ layer: layers.dense({ units: 2, activation: 'selu' }) }), x),
      apply(
        layers.dense({ units: 2 }),
        apply(
          layers.flatten(),
          apply(layers.batchNormalization(), apply(layers.conv1d({ filters: 3, kernelSize: 2, activation: 'relu' }), x)),
        ),
      ),
      apply(layers.prelu({ alphaInitializer: 'randomNormal' }), x),
    ];
    const model = tf.model({ inputs: x, outputs: ends });
    // Biases and averages away from their initial values, variances positive.
    const weights = model.weights.map(({ originalName, shape }, index) =>
      tf.randomUniform(
        shape as number[],
        originalName.includes('variance') ? 0.5 : -0.6,
        originalName.includes('variance') ? 1.5 : 0.6,
        'float32',
        index + 1,
      ),
    );
    model.setWeights(weights);
    const feed = tf.randomUniform([2, 6, 3], -1, 1, 'float32', 7);
    const expected = (model.predict(feed) as tf.Tensor[]).map((tensor) => ({
      dtype: 'float32',
      shape: tensor.shape,
      data: [...tensor.dataSync()],
    }));
    const folder = await savedFolder(model);

    const graph = await readKeras(folder);

    const feeds: Record<string, Recorded> = { x: { dtype: 'float32', shape: [2, 6, 3], data: [...feed.dataSync()] } };
    const outputs = Object.fromEntries(model.outputNames.map((name, index) => [name, expected[index]!]));
    const wrong = Object.entries(differences(outputs, await runGraph(graph, feeds))).filter(([, difference]) => !(difference <= 1e-5));
    expect(wrong).toEqual([]);
  });

  test('with quantised weights decode them', async () => {
    const document = {
      format: 'layers-model',
      modelTopology: {
        class_name: 'Sequential',
        keras_version: 'tfjs-layers 4.22.0',
        config: { name: 's', layers: [{ class_name: 'Dense', config: { name: 'd', units: 1, batch_input_shape: [null, 2] } }] },
      },
      weightsManifest: [
        {
          paths: ['a.bin', 'b.bin'],
          weights: [
            {
              name: 'd/kernel',
              shape: [2, 1],
              dtype: 'float32',
              quantization: { dtype: 'uint8', scale: 0.5, min: -1, original_dtype: 'float32' },
            },
            { name: 'd/bias', shape: [1], dtype: 'float32', quantization: { dtype: 'float16', original_dtype: 'float32' } },
          ],
        },
      ],
    };
    const folder: ModelFolder = new Map([
      ['a.bin', memoryFile(Uint8Array.of(4, 8, 0x00))],
      ['b.bin', memoryFile(Uint8Array.of(0x3e))],
      ['model.json', memoryFile(new TextEncoder().encode(JSON.stringify(document)))],
    ]);

    const graph = await readKeras(folder);

    const got = await runGraph(graph, { d_input: { dtype: 'float32', shape: [1, 2], data: [1, 2] } });
    expect(got['d']).toEqual({ shape: [1, 1], values: [1 * 1 + 3 * 2 + 1.5] });
  });
});

/** What `model.save` hands over, as a folder. */
async function savedFolder(model: tf.LayersModel): Promise<ModelFolder> {
  const folder = new Map<string, ReturnType<typeof memoryFile>>();
  await model.save({
    save: async ({ modelTopology, weightSpecs, weightData }) => {
      const document = { format: 'layers-model', modelTopology, weightsManifest: [{ paths: ['weights.bin'], weights: weightSpecs }] };
      folder.set('model.json', memoryFile(new TextEncoder().encode(JSON.stringify(document))));
      folder.set('weights.bin', memoryFile(new Uint8Array(weightData as ArrayBuffer)));
      return { modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: 'JSON' } };
    },
  });
  return folder;
}

describe('models of the shared data', () => {
  const folderOf = async (paths: readonly string[]): Promise<ModelFolder | undefined> => {
    const entries: [string, ReturnType<typeof memoryFile>][] = [];
    for (const path of paths) {
      const found = sharedData(path);
      if (found === undefined) return undefined;
      entries.push([path.slice(path.lastIndexOf('/') + 1), memoryFile(new Uint8Array(await readFile(found)))]);
    }
    return new Map(entries);
  };

  test('ResNet8 as .h5 and as LayersModel gives the recorded probabilities', async (context) => {
    const recorded = sharedData('expected/resnet8-cifar10.json');
    const photo = sharedData('prepared/32/bee.png');
    const sources = [
      await folderOf(['keras/resnet8_cifar10.h5']),
      await folderOf(['tfjs/resnet8-cifar10-layers/model.json', 'tfjs/resnet8-cifar10-layers/group1-shard1of1.bin']),
    ];
    if (recorded === undefined || photo === undefined || sources.includes(undefined)) return context.skip('the shared data is absent');
    const { results } = JSON.parse(await readFile(recorded, 'utf8'));
    const pixels = [...(await sharp(photo).removeAlpha().raw().toBuffer())];

    for (const source of sources) {
      const graph = await readKeras(source!);

      const got = await runGraph(graph, { input_1: { dtype: 'float32', shape: [1, 32, 32, 3], data: pixels } });

      const probabilities: number[] = results.bee.probabilities;
      // Recorded with six decimals.
      for (const [index, value] of probabilities.entries()) expect(Number(got['dense']!.values[index])).toBeCloseTo(value, 5);
    }
  });

  test('abalone gives the recorded rings', async (context) => {
    const recorded = sharedData('expected/tfjs-abalone-layers.json');
    const source = await folderOf(['tfjs/abalone-layers/model.json', 'tfjs/abalone-layers/weights.bin']);
    if (recorded === undefined || source === undefined) return context.skip('the shared data is absent');
    const { feeds, results } = JSON.parse(await readFile(recorded, 'utf8')) as { feeds: number[][]; results: number[][] };

    const graph = await readKeras(source);

    const got = await runGraph(graph, { dense_Dense1_input: { dtype: 'float32', shape: [feeds.length, 8], data: feeds.flat() } });
    const expected = { dense_Dense3: { dtype: 'float32', shape: [results.length, 1], data: results.flat() } };
    expect(differences(expected, got)['dense_Dense3']).toBeLessThan(1e-5);
  });
});

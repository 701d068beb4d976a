import { expect, test } from 'vitest';
import { createTensor, readTfjsGraph, type Variant, type VariantSource, writeTfjsGraph } from '../../src/core/index.ts';
import { openEngine } from '../../src/engines/index.ts';
import { openNodePlatform } from '../../src/engines/node/index.ts';
import { everyday10 } from '../support/engine-models.ts';
import { memoryFile, readEmitted } from '../support/tfjs-graph-run.ts';

test.each(['tfjs-cpu', 'tfjs-wasm'] as const)('%s runs weights that are quantised per channel', async (backend) => {
  const { manifest } = await everyday10();
  const original = (await everyday10()).source('tfjs');
  const files = ['model.json', 'weights.bin'].map(async (name) => [name, memoryFile(await original.readFile(`tfjs/${name}`))] as const);
  const emitted = await writeTfjsGraph(await readTfjsGraph(new Map(await Promise.all(files))), { precision: 'uint8' });
  const quantized: VariantSource = {
    manifest,
    variant: {
      ...original.variant,
      id: 'tfjs-uint8',
      precision: 'uint8',
      entry: emitted.entry,
      files: [...emitted.files.keys()],
      bindings: emitted.bindings as Variant['bindings'], // without undefined layouts they are the same
    },
    readFile: (path) => readEmitted(emitted.files.get(path)!),
  };
  const image = createTensor(
    'float32',
    [1, 32, 32, 3],
    Float32Array.from({ length: 32 * 32 * 3 }, (_, index) => (Math.sin(index * 0.05) + 1) / 2),
  );
  await using engine = await openEngine(backend, await openNodePlatform({ gpu: false }));

  const answers = [];
  for (const source of [original, quantized]) {
    await using loaded = await engine.load(source);
    const { probabilities } = await loaded.run({ signature: 'serving_default', inputs: { image } });
    if (probabilities?.dtype !== 'float32') throw new Error('no probabilities');
    answers.push(probabilities.data);
  }

  const [want, got] = answers;
  expect(JSON.stringify(await readEmitted(emitted.files.get('model.json')!).then((bytes) => new TextDecoder().decode(bytes)))).toContain(
    'uint8-per-channel',
  );
  for (const [index, value] of want!.entries()) expect(Math.abs(value - got![index]!)).toBeLessThan(0.03);
  expect([...got!].reduce((sum, value) => sum + value)).toBeCloseTo(1, 5);
});

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Engine, OpenedTask, Pixels, TaskSource, VariantSource } from '../../src/core/index.ts';
import { openTask } from '../../src/core/tasks/open-task/index.ts';
import { openEngine } from '../../src/engines/index.ts';
import { openNodePlatform } from '../../src/engines/node/index.ts';
import { graphSource, node, placeholder, type } from '../support/graph-models.ts';
import { catsAndDogs, tokenizer } from '../support/task-models.ts';

const platform = await openNodePlatform({ allowSoftwareAdapter: true });

describe.each(['tfjs-cpu', 'tfjs-wasm'] as const)('tasks around a run on %s', (backend) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await openEngine(backend, platform);
  });
  afterAll(async () => {
    await engine[Symbol.asyncDispose]();
  });

  /** Encodes, runs and decodes, as either leg does. */
  async function answer<Input, Options, Answer>(
    model: VariantSource,
    open: (source: TaskSource) => Promise<OpenedTask<Input, Options, Answer>>,
    tasks: Record<string, object>,
    inputs: readonly Input[],
    options: Options,
    files: Record<string, Uint8Array<ArrayBuffer>> = {},
  ): Promise<Answer[]> {
    const manifest = { ...model.manifest, tasks };
    const task = await open({ manifest, readFile: async (path) => files[path]! });
    await using loaded = await engine.load({ ...model, manifest });
    const batch = task.encode(inputs);
    const outputs = await loaded.run({ signature: task.signature, inputs: batch.tensors, outputs: task.outputs });
    return task.decode(outputs, batch, options);
  }

  const signature = 'serving_default';

  test('classifies texts by what their tokens say', async () => {
    const spec = {
      'text-classification': {
        signature,
        input: { tokenizer: 'tokenizer.json', padding: 'longest', ids: 'ids' },
        output: { name: 'logits', activation: 'softmax', labels: 'labels.txt' },
      },
    };

    const answers = await answer(
      catsAndDogs(),
      (source) => openTask('text-classification', source),
      spec,
      ['A photo of a CAT.', 'Dog!'],
      { topK: 1 },
      { 'tokenizer.json': tokenizer, 'labels.txt': new TextEncoder().encode('cat\ndog\n') },
    );

    expect(answers.map(([best]) => best!.label)).toEqual(['cat', 'dog']);
    expect(answers[0]![0]!.score).toBeCloseTo(1 / (1 + Math.exp(-9)), 5);
  });

  test('segments a picture by its colours', async () => {
    const model = graphSource({
      nodes: [placeholder('image', 'float32'), node('out', 'Identity', ['image'], { T: type('float32') })],
      signatures: { [signature]: { inputs: { image: 'float32' }, outputs: { out: 'float32' } } },
    });
    const resize = { size: [2, 4], filter: 'bilinear', antialias: true };
    const input = { name: 'image', resize, layout: 'NHWC', scale: 1 / 255, mean: [0, 0, 0], std: [1, 1, 1] };
    const spec = { 'image-segmentation': { signature, input, output: { name: 'out', layout: 'NHWC' } } };
    const colours = [
      [255, 0, 0],
      [0, 0, 255],
    ];
    const data = Uint8Array.from([0, 1, 2, 3].flatMap(() => [0, 0, 1, 1, 1, 1, 1, 1].flatMap((colour) => colours[colour]!)));
    const picture: Pixels = { width: 8, height: 4, channels: 3, data };

    const [segmentation] = await answer(model, (source) => openTask('image-segmentation', source), spec, [picture], {});

    expect(segmentation!.segments).toEqual([
      { label: '2', index: 2, pixels: 24 },
      { label: '0', index: 0, pixels: 8 },
    ]);
    expect([...segmentation!.mask.data.subarray(0, 8)]).toEqual([0, 0, 2, 2, 2, 2, 2, 2]);
  });
});

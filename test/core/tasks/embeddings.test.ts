import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { createTensor } from '../../../src/core/index.ts';
import { openTask } from '../../../src/core/tasks/open-task/index.ts';
import { taskSource } from '../../support/task-source.ts';

const textInput = { tokenizer: 'tokenizer.json', padding: 'longest', ids: 'ids', attentionMask: 'mask' };
const files = { 'tokenizer.json': readFileSync(new URL('../../fixtures/text/bert-uncased.json', import.meta.url)) };
const textInputs = { ids: ['int32', [-1, -1]], mask: ['int32', [-1, -1]] } satisfies Record<string, ['int32', number[]]>;

function openText(pooling: string, normalise: boolean) {
  return openTask(
    'embeddings',
    taskSource('embeddings', { input: textInput, output: { name: 'out', pooling, normalise } }, { inputs: textInputs, files }),
  );
}

test('takes the mean over the tokens that are no filling, at length 1', async () => {
  const task = await openText('mean', true);
  const batch = task.encode(['a', 'a a']);
  // Three and four tokens; what stands in the filling must not count.
  const rows = [3, 1, 3, 2, 3, 6, 99, 99, 0, 2, 0, 2, 0, 2, 0, 2];

  const vectors = task.decode({ out: createTensor('float32', [2, 4, 2], Float32Array.from(rows)) }, batch, {});

  expect(vectors).toEqual([Float32Array.of(Math.SQRT1_2, Math.SQRT1_2), Float32Array.of(0, 1)]);
});

test('takes the first token, or the vector as it is; nothing stays nothing', async () => {
  const first = await openText('first', false);
  const none = await openText('none', true);
  const batch = first.encode(['a']);

  expect(first.decode({ out: createTensor('float32', [1, 2, 2], Float32Array.of(1, 2, 3, 4)) }, batch, {})).toEqual([
    Float32Array.of(1, 2),
  ]);
  expect(none.decode({ out: createTensor('float32', [1, 2], Float32Array.of(3, 4)) }, batch, {})).toEqual([Float32Array.of(0.6, 0.8)]);
  expect(none.decode({ out: createTensor('float32', [1, 2], Float32Array.of(0, 0)) }, batch, {})).toEqual([Float32Array.of(0, 0)]);
});

test('encodes pictures as image classification does, and refuses one kind for the other', async () => {
  const input = {
    name: 'image',
    resize: { shorterSide: 2, filter: 'bilinear', antialias: true },
    crop: [2, 2],
    layout: 'NHWC',
    scale: 1,
    mean: [0, 0, 0],
    std: [1, 1, 1],
  };
  const output = { name: 'out', pooling: 'none', normalise: true };
  const pictures = await openTask(
    'embeddings',
    taskSource('embeddings', { input, output }, { inputs: { image: ['float32', [-1, 2, 2, 3]] } }),
  );
  const texts = await openText('none', true);
  const image = { width: 2, height: 2, channels: 3, data: Uint8Array.from({ length: 12 }, (_, index) => index) } as const;

  expect(pictures.encode([image]).tensors['image']).toEqual(createTensor('float32', [1, 2, 2, 3], Float32Array.from(image.data)));
  expect(() => pictures.encode(['a text'])).toThrow('embeddings of a picture');
  expect(() => texts.encode([image])).toThrow('embeddings of a text');
});

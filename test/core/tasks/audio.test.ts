import { expect, test } from 'vitest';
import { createTensor, type DType } from '../../../src/core/index.ts';
import { openTask } from '../../../src/core/tasks/open-task/index.ts';
import { taskSource } from '../../support/task-source.ts';

const features = { frameLength: 4, hop: 2, fft: 4, window: 'none', edges: 'none', power: 2 };
const output = { name: 'scores', activation: 'none' };

function open(input: object, shape: number[], more: object = {}) {
  const inputs: Record<string, [DType, number[]]> = { sound: ['float32', shape] };
  return openTask(
    'audio-classification',
    taskSource(
      'audio-classification',
      { input: { name: 'sound', sampleRate: 8000, ...input }, output: { ...output, ...more } },
      { inputs },
    ),
  );
}

const sound = { sampleRate: 8000, channels: [Float32Array.of(1, 0, 1, 0, 1, 0), Float32Array.of(0, 0, 0, 0, 0, 0)] };

test('gives the samples themselves, mixed, at the declared length and scale', async () => {
  const task = await open({ samples: 8, mean: 0.25, std: 0.5 }, [-1, 8]);

  const { tensors } = task.encode([sound, sound]);

  const row = [0.5, -0.5, 0.5, -0.5, 0.5, -0.5, -0.5, -0.5];
  expect(tensors['sound']).toEqual(createTensor('float32', [2, 8], Float32Array.from([...row, ...row])));
});

test.each([
  [[-1, -1, 3], undefined, [1, 2, 3]],
  [[-1, 2, 3, 1], undefined, [1, 2, 3, 1]],
  [[-1, 1, 3, -1], 'bins-frames', [1, 1, 3, 2]],
  [[2, 3], undefined, [2, 3]],
])('gives features in the declared shape [%s] (order %s)', async (declared, order, shape) => {
  const task = await open({ features, ...(order && { order }) }, declared);

  const { tensors } = task.encode([sound]);

  expect(tensors['sound']!.shape).toEqual(shape);
  // Two frames of 0.5 0 0.5 0: a sum of 1 at 0 Hz and at half the sample rate.
  const frames = order === undefined ? [1, 0, 1, 1, 0, 1] : [1, 1, 0, 0, 1, 1];
  expect([...(tensors['sound']!.data as Float32Array)].map((value) => Math.round(value * 1e6) / 1e6)).toEqual(frames);
});

test('averages the rows of a sound', async () => {
  const task = await open({}, [-1], { pooling: 'mean' });
  const batch = task.encode([sound]);

  const answers = task.decode({ scores: createTensor('float32', [2, 3], Float32Array.of(1, 0, 3, 0, 0.5, 6)) }, batch, { topK: 2 });

  expect(answers).toEqual([
    [
      { label: '2', index: 2, score: 4.5 },
      { label: '0', index: 0, score: 0.5 },
    ],
  ]);
});

test('refuses sounds of different lengths in one batch and a shape that they do not fit', async () => {
  const loose = await open({}, [-1, -1]);
  const fixed = await open({ features }, [-1, 2, 3, 2, 1]);

  expect(() => loose.encode([sound, { ...sound, channels: [new Float32Array(4)] }])).toThrow(/one length, got \[6\] and \[4\]/);
  expect(() => fixed.encode([sound])).toThrow(expect.objectContaining({ code: 'shape-mismatch' }));
});

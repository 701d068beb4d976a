import { expect, test } from 'vitest';
import { createTensor } from '../../../src/core/index.ts';
import { openTask } from '../../../src/core/tasks/open-task/index.ts';
import { taskSource } from '../../support/task-source.ts';

const columns = [
  { name: 'age', input: 'numbers', transform: { kind: 'standard', mean: 40, std: 10 }, missing: 40 },
  { name: 'job', input: 'job', transform: { kind: 'vocabulary', terms: 'jobs.txt', first: 1, unknown: 0 } },
  { name: 'colour', input: 'numbers', transform: { kind: 'vocabulary', terms: ['red', 'green'] }, oneHot: 2 },
];
const tensors = {
  inputs: { numbers: ['float32', [-1, 3]], job: ['int64', [-1]] } satisfies Record<string, ['float32' | 'int64', number[]]>,
  files: { 'jobs.txt': 'cook\nnurse\n' },
};

test('puts the columns of each input side by side, in the dtype of the signature', async () => {
  const spec = { input: { columns }, output: { name: 'scores', activation: 'softmax' } };
  const task = await openTask('tabular-classification', taskSource('tabular-classification', spec, tensors));

  const batch = task.encode([
    { age: 50, job: 'nurse', colour: 'green' },
    { job: 'pilot', colour: 'red' },
  ]);

  expect(batch.tensors).toEqual({
    numbers: createTensor('float32', [2, 3], Float32Array.of(1, 0, 1, 0, 1, 0)),
    job: createTensor('int64', [2], BigInt64Array.of(2n, 0n)),
  });
  expect(task.decode({ scores: createTensor('float32', [2, 2], Float32Array.of(1, 1, 9, 9)) }, batch, { topK: 1 })).toEqual([
    [{ label: '0', index: 0, score: 0.5 }],
    [{ label: '0', index: 0, score: 0.5 }],
  ]);
});

test('gives back the numbers of a regression, scaled', async () => {
  const spec = { input: { columns }, output: { name: 'price', scale: 100, offset: 5 } };
  const task = await openTask('tabular-regression', taskSource('tabular-regression', spec, tensors));
  const batch = task.encode([
    { job: 'cook', colour: 'red' },
    { job: 'cook', colour: 'red' },
  ]);

  expect(task.decode({ price: createTensor('float32', [2, 1], Float32Array.of(1, 2)) }, batch, {})).toEqual([[105], [205]]);
  expect(() => task.decode({ price: createTensor('float32', [1, 1], Float32Array.of(1)) }, batch, {})).toThrow(/with 2 rows/);
});

test('gives texts to a model that looks them up itself', async () => {
  const spec = {
    input: { columns: [{ name: 'job', input: 'job', transform: { kind: 'none' }, missing: 'none' }] },
    output: { name: 'scores', activation: 'none' },
  };
  const task = await openTask(
    'tabular-classification',
    taskSource('tabular-classification', spec, { inputs: { job: ['string', [-1, 1]] } }),
  );

  const { tensors } = task.encode([{ job: 'pilot' }, {}]);

  expect(tensors['job']).toMatchObject({ dtype: 'string', shape: [2, 1] });
  expect((tensors['job']!.data as Uint8Array[]).map((bytes) => new TextDecoder().decode(bytes))).toEqual(['pilot', 'none']);
});

test('refuses an unknown column and a file that the manifest does not list', async () => {
  const spec = { input: { columns }, output: { name: 'scores', activation: 'none' } };
  const task = await openTask('tabular-classification', taskSource('tabular-classification', spec, tensors));

  expect(() => task.encode([{ job: 'cook', colour: 'red', size: 3 }])).toThrow(
    'the table has no column "size"; its columns: age, job, colour',
  );
  expect(() => taskSource('tabular-classification', spec, { ...tensors, files: {} })).toThrow(
    'manifest is not valid at tasks.tabular-classification: jobs.txt is not among files',
  );
});

import { expect, test } from 'vitest';
import { createTensor, type TaskCall, type Variant } from '../../src/core/index.ts';
import { createRunQueue } from '../../src/worker/device/run-queue.ts';
import { openTaskCall } from '../../src/worker/device/run-task.ts';
import { catsAndDogs, tokenizer } from '../support/task-models.ts';

const call: TaskCall = { callId: 1, task: 'text-classification', input: 'Dog!', options: { topK: 1 } };
const { signal } = new AbortController();

const queue = createRunQueue(
  async () => undefined,
  () => Promise.reject(new Error('one call at a time')),
);

async function runTask(model: ReturnType<typeof textModel>, task: TaskCall, until: AbortSignal) {
  const variant = { tolerance: { absolute: 0, relative: 0 } } as Variant; // the rest is not read
  const { answer } = await queue.run({ ...(await openTaskCall(model, task, until)), model: { ...model, variant } });
  return { output: answer };
}

/** A text classifier whose engine says "dog"; its task's files can be taken away. */
function textModel() {
  const taskFiles = new Map([
    ['tokenizer.json', tokenizer],
    ['labels.txt', new TextEncoder().encode('cat\ndog\n')],
  ]);
  const tasks = {
    'text-classification': {
      signature: 'serving_default',
      input: { tokenizer: 'tokenizer.json', padding: 'longest', ids: 'ids' },
      output: { name: 'logits', activation: 'softmax', labels: 'labels.txt' },
    },
  };
  const runs: string[] = [];
  const loaded = {
    run: async ({ signature }: { signature: string }) => {
      runs.push(signature);
      return { logits: createTensor('float32', [1, 2], Float32Array.of(0, 9)) };
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
  return { manifest: { ...catsAndDogs().manifest, tasks }, taskFiles, loaded, runs };
}

test('a task that could not be opened is opened again by the next call', async () => {
  const model = textModel();
  model.taskFiles.delete('tokenizer.json');
  const failed = runTask(model, call, signal);
  await expect(failed).rejects.toMatchObject({ code: 'not-found' });
  model.taskFiles.set('tokenizer.json', tokenizer);

  const { output } = await runTask(model, call, signal);

  expect(output).toMatchObject([{ label: 'dog' }]);
});

test('a call that is aborted while its task is opened never runs', async () => {
  const model = textModel();
  const controller = new AbortController();
  const reason = new TypeError('nobody waits');

  const running = runTask(model, call, controller.signal);
  controller.abort(reason);

  await expect(running).rejects.toBe(reason);
  expect(model.runs).toEqual([]);
});

test.each([
  ['a cell', { age: Number.NaN }, 'age is NaN'],
  ['a sample', { sampleRate: 8000, channels: [Float32Array.of(0, Number.POSITIVE_INFINITY)] }, 'channels.0.1 is Infinity'],
])('%s that JSON cannot carry is refused, as on a server', async (_, input, message) => {
  const running = runTask(textModel(), { ...call, input }, signal);

  await expect(running).rejects.toMatchObject({ code: 'invalid-argument', message: expect.stringContaining(message) });
});

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { createTensor, filesOfVariant } from '../../../src/core/index.ts';
import { openTask } from '../../../src/core/tasks/open-task/index.ts';
import { taskSource } from '../../support/task-source.ts';

function fixture(name: string): Uint8Array {
  return readFileSync(new URL(`../../fixtures/text/${name}.json`, import.meta.url));
}

const output = { name: 'logits', activation: 'softmax', labels: 'labels.txt' };
const labels = 'no\nyes\n';

test('encodes texts of a batch to one length, with masks and types in the dtypes of the signature', async () => {
  const input = {
    tokenizer: 'tokenizer.json',
    padding: 'longest',
    ids: 'input_ids',
    attentionMask: 'attention_mask',
    tokenTypeIds: 'token_type_ids',
  };
  const source = taskSource(
    'text-classification',
    { input, output },
    {
      inputs: { input_ids: ['int64', [-1, -1]], attention_mask: ['int32', [-1, -1]], token_type_ids: ['int64', [-1, -1]] },
      files: { 'tokenizer.json': fixture('bert-uncased'), 'labels.txt': labels },
    },
  );
  const task = await openTask('text-classification', source);

  const { tensors, count } = task.encode(['a', { text: 'a', pair: 'a' }]);

  const a = (tensors['input_ids']!.data as BigInt64Array)[1]!;
  expect(count).toBe(2);
  expect(tensors).toEqual({
    input_ids: createTensor('int64', [2, 5], BigInt64Array.of(2n, a, 3n, 0n, 0n, 2n, a, 3n, a, 3n)),
    attention_mask: createTensor('int32', [2, 5], Int32Array.of(1, 1, 1, 0, 0, 1, 1, 1, 1, 1)),
    token_type_ids: createTensor('int64', [2, 5], BigInt64Array.of(0n, 0n, 0n, 0n, 0n, 0n, 0n, 0n, 1n, 1n)),
  });
});

test('cuts and fills texts to maxLength with the token that the manifest names', async () => {
  const input = { tokenizer: 'tokenizer.json', maxLength: 4, padding: 'max-length', padToken: '<|endoftext|>', ids: 'ids' };
  const source = taskSource(
    'text-classification',
    { input, output },
    {
      inputs: { ids: ['int32', [-1, 4]] },
      files: { 'tokenizer.json': fixture('gpt2'), 'labels.txt': labels },
    },
  );
  const task = await openTask('text-classification', source);

  const { tensors } = task.encode(['a', 'abcdefghijklmnop zzzz']);

  expect(tensors['ids']).toMatchObject({ dtype: 'int32', shape: [2, 4] });
  expect([...(tensors['ids']!.data as Int32Array)].slice(1, 4)).toEqual([0, 0, 0]);
  expect(filesOfVariant(source.manifest, source.manifest.variants[0]!)).toEqual(['model.onnx', 'labels.txt', 'tokenizer.json']);
});

test('decodes scores to labels, a single sigmoid score beside two labels as that of the second', async () => {
  const input = { tokenizer: 'tokenizer.json', padding: 'longest', ids: 'ids' };
  const files = { 'tokenizer.json': fixture('bert-cased'), 'labels.txt': labels };
  const inputs = { ids: ['int32', [-1, -1]] } satisfies Record<string, ['int32', number[]]>;
  const two = await openTask('text-classification', taskSource('text-classification', { input, output }, { inputs, files }));
  const one = await openTask(
    'text-classification',
    taskSource('text-classification', { input, output: { ...output, activation: 'sigmoid' } }, { inputs, files }),
  );
  const batch = two.encode(['a', 'b']);

  const softmax = two.decode({ logits: createTensor('float32', [2, 2], Float32Array.of(0, 0, 1, 1 + Math.log(3))) }, batch, { topK: 1 });
  const sigmoid = one.decode({ logits: createTensor('float32', [2, 1], Float32Array.of(0, Math.log(3))) }, batch, { topK: 2 });

  expect(softmax).toEqual([[{ label: 'no', index: 0, score: 0.5 }], [{ label: 'yes', index: 1, score: 0.75 }]]);
  expect(sigmoid[1]).toEqual([
    { label: 'yes', index: 1, score: 0.75 },
    { label: 'no', index: 0, score: 0.25 },
  ]);
  expect(() => two.decode({ logits: createTensor('float32', [1, 2], Float32Array.of(0, 0)) }, batch, { topK: 1 })).toThrow(/with 2 rows/);
});

test('refuses an empty batch, a dtype that holds no ids, an unknown input, padding without a token and a tokenizer it does not have', async () => {
  const input = { tokenizer: 'tokenizer.json', padding: 'longest', ids: 'ids' };
  const open = (tokenizer: string | Uint8Array, more: object = {}, dtype: 'int32' | 'float32' = 'int32') =>
    openTask(
      'text-classification',
      taskSource(
        'text-classification',
        { input: { ...input, ...more }, output: { name: 'logits', activation: 'none' } },
        {
          inputs: { ids: [dtype, [-1, -1]] },
          files: { 'tokenizer.json': tokenizer },
        },
      ),
    );
  const gpt2 = await open(fixture('gpt2'));
  const unigram = JSON.stringify({ version: '1.0', added_tokens: [], model: { type: 'Unigram', vocab: [] } });

  expect(() => gpt2.encode([])).toThrow(/at least one input/);
  expect(() => gpt2.encode(['a', 'a long text'])).toThrow(/need a padToken/);
  await expect(open(fixture('gpt2'), { padToken: '[PAD]' })).rejects.toMatchObject({ code: 'invalid-argument' });
  await expect(open(fixture('gpt2'), { ids: 'input_ids' })).rejects.toThrow('tiny has no input "input_ids"');
  await expect(open(fixture('gpt2'), {}, 'float32')).rejects.toMatchObject({ code: 'unsupported' });
  await expect(open(unigram)).rejects.toMatchObject({ code: 'unsupported', details: { path: 'model.type' } });
  await expect(open('{')).rejects.toMatchObject({ code: 'invalid-argument' });
  await expect(open(fixture('bert-cased'), { maxLength: 1 }).then((task) => task.encode(['a']))).rejects.toThrow(/adds 2 tokens/);
});

test('names the first field of a task that is wrong when the task is opened', async () => {
  const input = { tokenizer: 'tokenizer.json', padding: 'shortest', ids: 'ids' };
  const source = taskSource(
    'text-classification',
    { input, output: { name: 'logits', activation: 'none' } },
    {
      inputs: { ids: ['int32', [-1, -1]] },
      files: { 'tokenizer.json': '{}' },
    },
  );

  await expect(openTask('text-classification', source)).rejects.toMatchObject({
    code: 'invalid-argument',
    details: { what: 'manifest', path: 'tasks.text-classification.input.padding' },
  });
  await expect(openTask('embeddings', source)).rejects.toMatchObject({ code: 'unsupported', details: { tasks: ['text-classification'] } });
});

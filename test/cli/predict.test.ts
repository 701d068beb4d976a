import { expect, test } from 'vitest';
import { printAnswer } from '../../src/cli/predict.ts';

test('prints logits, which are no shares of 1, without a bar or with a whole one', () => {
  const answer = { model_name: 'm', model_version: '1', digest: 'sha256:0', backend: 'onnx-cpu', variant: 'v' };
  const predictions = [
    { label: 'cat', index: 0, score: 7.5 },
    { label: 'dog', index: 1, score: -2.25 },
  ];

  const [cat, dog] = printAnswer({ ...answer, predictions }).split('\n');

  expect(cat).toBe(`  cat  750.0 %  ${'█'.repeat(30)}`);
  expect(dog).toBe('  dog  -225.0 %  ');
});

import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, expect, test } from 'vitest';
import { einsum } from '../../src/engines/tfjs/einsum.ts';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

test.each([
  ['ij', 1, 'unsupported'],
  ['ii->i', 1, 'unsupported'],
  ['i1->i', 1, 'unsupported'],
  ['ij,jk,kl->il', 3, 'unsupported'],
  ['ijk->i', 1, 'shape-mismatch'],
  ['ij,ij->i', 2, 'shape-mismatch'],
])('%s of %i tensors is refused as %s', (equation, count, code) => {
  // [2, 3], [3, 2], [2, 3]
  const inputs = Array.from({ length: count }, (_, index) => tf.ones(index % 2 === 0 ? [2, 3] : [3, 2]));

  expect(() => einsum(equation, inputs)).toThrowError(expect.objectContaining({ code, details: { equation } }));

  tf.dispose(inputs);
});

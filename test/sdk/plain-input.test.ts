import { expect, test } from 'vitest';
import { checkPlainInput } from '../../src/sdk/plain-input.ts';

test.each([
  ['embeddings', { text: 'a text' }, 'a text'],
  ['text-classification', { text: 'one', pair: 'two', more: 1 }, { text: 'one', pair: 'two' }],
  ['tabular-regression', { age: null, job: undefined }, { age: null, job: undefined }],
] as const)('%s takes %o', (task, input, taken) => {
  expect(checkPlainInput(task, input)).toEqual(taken);
});

test.each([
  ['embeddings', new Blob(['a text']), 'expected a text, or { text, pair }, got Blob'],
  ['text-classification', { text: 'one', pair: 2 }, 'expected a text, or { text, pair }, got Object'],
  ['tabular-regression', [1], 'expected a row as { column: cell }, got Array'],
  ['tabular-classification', { age: 1n }, 'expected the cell age as a text, a number, true, false or null, got bigint 1'],
  ['audio-classification', Float32Array.of(1), 'expected a sound as { sampleRate, channels }, got Float32Array'],
  [
    'audio-classification',
    { sampleRate: 8000, channels: [Int16Array.of(1)] },
    'expected channel 0 of the sound as Float32Array or Float64Array, got Int16Array',
  ],
] as const)('%s refuses %o', (task, input, message) => {
  expect(() => checkPlainInput(task, input)).toThrow(expect.objectContaining({ code: 'invalid-argument', message: `input: ${message}` }));
});

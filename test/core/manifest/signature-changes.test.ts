import { describe, expect, test } from 'vitest';
import { type Manifest, signatureChanges } from '../../../src/core/index.ts';

type Signatures = Manifest['signatures'];

const before: Signatures = {
  serving_default: {
    method: 'predict',
    inputs: { image: { dtype: 'float32', shape: [-1, 32, 32, 3] } },
    outputs: { scores: { dtype: 'float32', shape: [-1, 10] } },
  },
};

function changed(change: (signature: Signatures[string]) => void): Signatures {
  const copy = structuredClone(before);
  change(copy['serving_default']!);
  return copy;
}

describe('changes of signatures that clients of the older version', () => {
  test.each<[string, Signatures, string]>([
    ['a signature that is gone', {}, 'signature serving_default is gone'],
    ['an input that is gone', changed(({ inputs }) => void delete inputs['image']), 'serving_default: input image is gone'],
    [
      'an input that is new',
      changed(({ inputs }) => void Object.assign(inputs, { size: { dtype: 'int32', shape: [] } })),
      'serving_default: input size is new, and needed',
    ],
    [
      'another dtype',
      changed(({ inputs }) => void Object.assign(inputs['image']!, { dtype: 'uint8' })),
      'serving_default: input image is uint8, was float32',
    ],
    [
      'an input that takes one size of any',
      changed(({ inputs }) => void Object.assign(inputs['image']!, { shape: [1, 32, 32, 3] })),
      'serving_default: input image has shape [1,32,32,3], had [-1,32,32,3]',
    ],
    [
      'an input of another rank',
      changed(({ inputs }) => void Object.assign(inputs['image']!, { shape: [-1, 3072] })),
      'serving_default: input image has shape [-1,3072], had [-1,32,32,3]',
    ],
    ['an output that is gone', changed(({ outputs }) => void delete outputs['scores']), 'serving_default: output scores is gone'],
    [
      'an output of another size',
      changed(({ outputs }) => void Object.assign(outputs['scores']!, { shape: [-1, 12] })),
      'serving_default: output scores has shape [-1,12], had [-1,10]',
    ],
  ])('trip over are told: %s', (_, changed, text) => {
    expect(signatureChanges(before, changed)).toEqual([text]);
  });

  test.each<[string, Signatures]>([
    ['nothing', before],
    ['another signature', { ...before, other: before['serving_default']! }],
    ['one more output', changed(({ outputs }) => void Object.assign(outputs, { constructor: { dtype: 'float32', shape: [-1] } }))],
    ['an input that takes any size', changed(({ inputs }) => void Object.assign(inputs['image']!, { shape: [-1, -1, -1, 3] }))],
    ['an output of one size of any', changed(({ outputs }) => void Object.assign(outputs['scores']!, { shape: [1, 10] }))],
  ])('do not notice are not: %s', (_, changed) => {
    expect(signatureChanges(before, changed)).toEqual([]);
  });
});

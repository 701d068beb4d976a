import { describe, expect, test } from 'vitest';
import { readKeras } from '../../../../src/core/index.ts';
import { differences, fixtureFile, readFixture, runGraph } from './keras-fixture.ts';

const models = [
  'dense',
  'sequential',
  'nested',
  'convolution',
  'sequence',
  'activations',
  'recurrent',
  'loops',
  'masked',
  'attention',
  'channels_first',
  'operations',
];

describe('answers as Keras does, within 1e-5 of the largest value', () => {
  test.each(models)('%s', async (name) => {
    const { files, feeds, outputs } = await readFixture(name);
    for (const file of files) {
      const graph = await readKeras(await fixtureFile(file));

      const got = await runGraph(graph, feeds);

      const wrong = Object.entries(differences(outputs, got)).filter(([, difference]) => !(difference <= 1e-5));
      expect(wrong, file).toEqual([]);
      expect(Object.keys(got).sort(), file).toEqual(Object.keys(outputs).sort());
    }
  });
});

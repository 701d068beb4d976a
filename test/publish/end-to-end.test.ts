import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import type { TensorMap } from '../../src/core/index.ts';
import { expectRecorded, openImported } from '../support/imported.ts';
import { readSavedModelCases, type SavedModelCase, tensorOfCase } from '../support/saved-model-cases.ts';

// What TensorFlow and Keras answered, against what is imported answers on every engine of this machine that has a variant.

const fixtures = (path: string) => fileURLToPath(new URL(`../fixtures/${path}`, import.meta.url));

type Call = Pick<SavedModelCase, 'signature' | 'inputs' | 'outputs'>;

const toInputs = (inputs: Call['inputs']): TensorMap =>
  Object.fromEntries(Object.entries(inputs).map(([name, tensor]) => [name, tensorOfCase(tensor)]));

describe('the SavedModels and frozen graphs of TensorFlow', () => {
  const models = new Map<string, SavedModelCase[]>();
  for (const call of readSavedModelCases()) {
    const path = call.file ? `${call.dir}/${call.file}` : call.dir;
    models.set(path, [...(models.get(path) ?? []), call]);
  }

  test.each([...models].filter(([path]) => path !== 'types'))('%s answers as TensorFlow did', async (path, calls) => {
    await expectCalls([fixtures(`savedmodel/${path}`)], calls);
  });

  test('types is refused: TensorFlow.js has whole numbers of 32 bits, and nothing is cut to them', async () => {
    await expect(openImported([fixtures('savedmodel/types')])).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringMatching(/18446744073709551615.*-9223372036854775808/s),
    });
  });

  test.each(['shared_text', 'frozen/frozen.pbtxt'])('%s answers as its binary form', async (path) => {
    const calls = models.get(path === 'shared_text' ? 'shared' : 'frozen/frozen.pb')!;
    await expectCalls([fixtures(`savedmodel/${path}`)], calls);
  });
});

describe('the models of Keras', () => {
  const models = readdirSync(fixtures('keras'))
    .filter((name) => name.endsWith('.json') && name !== 'hdf5.json')
    .map((name) => name.slice(0, -5));

  test.each(models)('%s answers as Keras did', async (name) => {
    interface Fixture {
      readonly files: readonly string[];
      readonly feeds: Call['inputs'];
      readonly outputs: Call['outputs'];
    }
    const { files, feeds, outputs }: Fixture = JSON.parse(readFileSync(fixtures(`keras/${name}.json`), 'utf8'));
    for (const file of files) await expectCalls([fixtures(`keras/${file}`)], [{ signature: 'serving_default', inputs: feeds, outputs }]);
  });
});

/** Every recorded call on every backend that has a variant. */
async function expectCalls(paths: readonly string[], calls: readonly Call[]): Promise<void> {
  const golden = calls.find(({ signature }) => signature === 'serving_default');
  await using model = await openImported(paths, { goldenInputs: golden && [toInputs(golden.inputs)] });
  expect(model.backends).toContain('tfjs-wasm');
  for (const backend of model.backends) {
    for (const { signature, inputs, outputs } of calls) {
      const got = await model.run(backend, signature, toInputs(inputs));
      expect(Object.keys(got).sort()).toEqual(Object.keys(outputs).sort());
      for (const [name, want] of Object.entries(outputs)) expectRecorded(got[name], want, `${backend} ${signature} ${name}`);
    }
  }
}

import { expect, test } from 'vitest';
import { openHdf5 } from '../../../../src/core/formats/keras/hdf5/index.ts';
import { memoryFile } from '../../../support/tfjs-graph-run.ts';
import { fixtureBytes, type Recorded } from './keras-fixture.ts';

async function recorded(): Promise<Record<string, Recorded>> {
  return JSON.parse(new TextDecoder().decode(await fixtureBytes('hdf5.json')));
}

test.each([
  ['hdf5.bin', 'group/inner', 8],
  ['hdf5-latest.bin', 'group', 6],
])('%s: datasets in every form that h5py gives them', async (name, path, count) => {
  const expected = await recorded();
  const group = await (await openHdf5(memoryFile(await fixtureBytes(name)))).find(path);

  const names = await group!.names();

  expect(names).toHaveLength(count);
  for (const key of names) {
    const dataset = await (await group!.find(key))!.dataset();
    const tensor = await dataset.read();
    const { dtype, shape, data } = expected[key]!;
    expect([key, dataset.dtype, dataset.shape]).toEqual([key, dtype, shape]);
    // Halves are bits here.
    if (dtype !== 'float16') expect([...tensor.data].map(Number), key).toEqual(data);
  }
});

test.each([
  ['hdf5.bin', 'group/inner'],
  ['hdf5-latest.bin', 'group'],
])('%s: attributes of fixed and variable length', async (name, path) => {
  const group = await (await openHdf5(memoryFile(await fixtureBytes(name)))).find(path);

  expect(await group!.attribute('text')).toEqual({ kind: 'text', value: ['variable ü'] });
  expect(await group!.attribute('names')).toEqual({ kind: 'text', value: ['one', 'three'] });
  expect(await group!.attribute('texts')).toEqual({ kind: 'text', value: ['a', '', 'ccc'] });
  expect(await group!.attribute('number')).toMatchObject({ kind: 'number', value: { dtype: 'int64', data: BigInt64Array.of(7n) } });
  expect(await group!.attribute('absent')).toBeUndefined();
});

test('a group of many members is found whole', async () => {
  const root = await openHdf5(memoryFile(await fixtureBytes('hdf5.bin')));

  expect(await (await root.find('many'))!.names()).toEqual(Array.from({ length: 20 }, (_, index) => `member_${index}`).sort());
});

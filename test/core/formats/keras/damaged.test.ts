import fc from 'fast-check';
import { strFromU8, unzipSync, zipSync } from 'fflate';
import { describe, expect, test } from 'vitest';
import { NearfarError, readKeras } from '../../../../src/core/index.ts';
import { memoryFile } from '../../../support/tfjs-graph-run.ts';
import { fixtureBytes } from './keras-fixture.ts';

/** Reads a model with all its weights; what goes wrong must be a typed error. */
async function readWhole(bytes: Uint8Array): Promise<void> {
  try {
    const graph = await readKeras(memoryFile(bytes));
    for (const node of graph.nodes.values()) {
      const value = node.attributes['value'];
      if (value?.kind === 'tensor') await value.value.load();
    }
  } catch (error) {
    if (!(error instanceof NearfarError)) throw error;
    expect(['invalid-argument', 'unsupported', 'integrity-mismatch', 'shape-mismatch']).toContain(error.code);
  }
}

describe.each(['dense.h5', 'dense.keras', 'masked.keras', 'keras2-chain.h5'])('%s', (name) => {
  test('cut anywhere gives a typed error', async () => {
    const file = await fixtureBytes(name);
    for (let length = 0; length < file.byteLength; length += 97) await readWhole(file.subarray(0, length));
  }, 30_000);

  test('with flipped bytes gives a model or a typed error', async () => {
    const file = await fixtureBytes(name);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(file.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }), async (changes) => {
        const changed = file.slice();
        for (const [at, value] of changes) changed[at] = value;
        await readWhole(changed);
      }),
      { numRuns: 400 },
    );
  }, 60_000);
});

const values: readonly unknown[] = [
  null,
  -1,
  0,
  1.5,
  3,
  2 ** 40,
  '',
  'odd',
  true,
  [],
  [1],
  [[1, 2]],
  {},
  { class_name: 'Dense', config: {} },
];

describe.each([
  'convolution.keras',
  'masked.keras',
  'attention.keras',
  'recurrent.keras',
  'keras2-graph.keras',
  'operations.keras',
  'text.keras',
  'categories.keras',
])('%s', (name) => {
  test('with another value anywhere in its config gives a model or a typed error', async () => {
    const members = unzipSync(await fixtureBytes(name));
    const text = strFromU8(members['config.json']!);
    const count = placesOf(JSON.parse(text)).length;
    await fc.assert(
      fc.asyncProperty(fc.nat(count - 1), fc.constantFrom(...values), async (index, value) => {
        const config = JSON.parse(text);
        const [owner, key] = placesOf(config)[index]!;
        owner[key] = value;
        const changed = { ...members, 'config.json': new TextEncoder().encode(JSON.stringify(config)) };
        await readWhole(zipSync(changed, { level: 0 }));
      }),
      { numRuns: 300 },
    );
  }, 60_000);
});

/** Every value of a document, by its owner and key. */
function placesOf(value: Record<string, unknown>): [Record<string, unknown>, string][] {
  return Object.entries(value).flatMap(([key, inner]): [Record<string, unknown>, string][] => [
    [value, key],
    ...(typeof inner === 'object' && inner !== null ? placesOf(inner as Record<string, unknown>) : []),
  ]);
}

test('models that use each other twice at every level are refused', async () => {
  const refs = (layer: string) => [[[layer, 0, 0, {}]], [[layer, 0, 0, {}]]];
  const input = { class_name: 'InputLayer', name: 'in', inbound_nodes: [], config: { name: 'in', batch_input_shape: [null, 1] } };
  let model: Record<string, unknown> = { class_name: 'Dropout', config: { name: 'inner' } };
  for (let depth = 0; depth < 19; depth++) {
    const inner = { ...model, name: 'inner', inbound_nodes: refs('in') };
    model = {
      class_name: 'Functional',
      config: { name: 'inner', layers: [input, inner], input_layers: [['in', 0, 0]], output_layers: [['inner', 0, 0]] },
    };
  }
  const weights = unzipSync(await fixtureBytes('masked.keras'))['model.weights.h5']!;
  const archive = zipSync({ 'config.json': new TextEncoder().encode(JSON.stringify(model)), 'model.weights.h5': weights });

  await expect(readKeras(memoryFile(archive))).rejects.toMatchObject({
    code: 'invalid-argument',
    message: expect.stringContaining('calls of layers'),
  });
});

test('a B-tree that points at itself ends', async () => {
  const file = await fixtureBytes('dense.h5');
  const trees: number[] = [];
  for (let at = 0; at + 4 < file.length; at++) if (String.fromCharCode(...file.subarray(at, at + 4)) === 'TREE') trees.push(at);
  expect(trees.length).toBeGreaterThan(0);
  for (const tree of trees) {
    const changed = file.slice();
    changed[tree + 5] = 1; // its children are nodes
    new DataView(changed.buffer).setBigUint64(tree + 32, BigInt(tree), true);
    await readWhole(changed);
  }
});

test('an archive that claims more than it holds is refused before memory is taken', async () => {
  const archive = zipSync({
    'config.json': new Uint8Array(1000),
    'metadata.json': new Uint8Array(1),
    'model.weights.h5': new Uint8Array(9),
  });
  const bytes = new Uint8Array(archive);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at + 4 < bytes.length; at++) if (view.getUint32(at, true) === 0x02014b50) view.setUint32(at + 24, 0x7fff_ffff, true);

  await expect(readKeras(memoryFile(bytes))).rejects.toMatchObject({ code: 'invalid-argument' });
});

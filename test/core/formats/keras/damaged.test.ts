import fc from 'fast-check';
import { zipSync } from 'fflate';
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

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { sortNodes } from '../../../../src/core/formats/graph/index.ts';
import { isGraphDef, isSavedModel, NearfarError, readGraphDef, readSavedModel } from '../../../../src/core/index.ts';
import { sharedData } from '../../../support/shared-data.ts';
import { constantsOf, readFolder } from './folder.ts';

// Files that were damaged by chance: each is refused with a typed error or read to a whole graph, soon.

const fixture = (name: string) => fileURLToPath(new URL(`../../../fixtures/savedmodel/${name}`, import.meta.url));
const serving = (name: string) => sharedData(`tfs-testdata/${name}/00000123`);

const folders: readonly (readonly [string, string | undefined])[] = [
  ['half_plus_two_cpu', serving('saved_model_half_plus_two_cpu')],
  ['half_plus_two_tf2_cpu', serving('saved_model_half_plus_two_tf2_cpu')],
  ...['loops', 'table_v1', 'shared', 'shared_text', 'control_flow_v1', 'frozen'].map((name) => [name, fixture(name)] as const),
];

/** A limit for the busiest machine: a damaged model takes some milliseconds. */
const SOON_MS = 20_000;

interface Damage {
  readonly cutAt: number | undefined;
  readonly changes: readonly { readonly at: number; readonly to: number }[];
}

const position = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const damage: fc.Arbitrary<Damage> = fc.oneof(
  { weight: 1, arbitrary: fc.record({ cutAt: position, changes: fc.constant([]) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      cutAt: fc.constant(undefined),
      changes: fc.array(fc.record({ at: position, to: fc.nat({ max: 255 }) }), { minLength: 1, maxLength: 4 }),
    }),
  },
);

function apply(bytes: Uint8Array, { cutAt, changes }: Damage): Uint8Array {
  if (cutAt !== undefined) return bytes.slice(0, Math.floor(cutAt * bytes.length));
  const changed = bytes.slice();
  for (const { at, to } of changes) changed[Math.floor(at * bytes.length)] = to;
  return changed;
}

for (const [name, folder] of folders) {
  test.skipIf(!folder)(`damage to ${name}`, { timeout: 120_000 }, async () => {
    const files = readdirSync(folder!, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    const paths = files.map((entry) => join(entry.parentPath, entry.name).slice(folder!.length + 1));

    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...paths), damage, async (path, how) => {
        const bytes = apply(new Uint8Array(readFileSync(join(folder!, path))), how);
        const start = performance.now();

        await expectRefusalOrGraph(async () => {
          isSavedModel(bytes);
          isGraphDef(bytes);
          const graph = name === 'frozen' ? await readGraphDef(bytes) : await readSavedModel(readFolder(folder!, { [path]: bytes }));
          for (const nodes of [graph.nodes, ...[...graph.functions.values()].map((body) => body.nodes)]) sortNodes(nodes);
          for (const constant of constantsOf(graph)) if (constant.byteLength < 2 ** 27) await expectRefusalOrGraph(() => constant.load());
        });

        expect(performance.now() - start).toBeLessThan(SOON_MS);
      }),
      { numRuns: 120, seed: 4 },
    );
  });
}

async function expectRefusalOrGraph(read: () => Promise<unknown>): Promise<void> {
  try {
    await read();
  } catch (error) {
    if (!(error instanceof NearfarError)) throw error;
    expect(['invalid-argument', 'integrity-mismatch', 'unsupported', 'not-found']).toContain(error.code);
  }
}

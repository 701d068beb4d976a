import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describeFile, digestOf, encodeManifest, type Manifest, type VariantSource } from '../../src/core/index.ts';
import { bool, graphSource, node, placeholder, type, weight } from './graph-models.ts';
import { writeVersion, writeVersionsFile } from './model-folder.ts';
import { tinyOnnx } from './tiny-models.ts';

const signature = 'serving_default';
export const tokenizer: Uint8Array<ArrayBuffer> = new Uint8Array(
  readFileSync(new URL('../fixtures/text/bert-uncased.json', import.meta.url)),
);

/** Writes a repository with a text classifier (TensorFlow.js, `pets`) and a regression of rows (ONNX, `ages`); returns their digests. */
export async function writeTaskModels(folder: string): Promise<{ pets: string; ages: string }> {
  const pets = await publish(
    folder,
    'pets',
    catsAndDogs(),
    {
      signatures: {
        [signature]: {
          method: 'predict',
          inputs: { ids: { dtype: 'int32', shape: [-1, -1] } },
          outputs: { logits: { dtype: 'float32', shape: [-1, 2] } },
        },
      },
      tasks: {
        'text-classification': {
          signature,
          input: { tokenizer: 'tokenizer.json', padding: 'longest', ids: 'ids' },
          output: { name: 'logits', activation: 'softmax', labels: 'labels.txt' },
        },
      },
    },
    { 'tokenizer.json': tokenizer, 'labels.txt': new TextEncoder().encode('cat\ndog\n') },
  );
  const identity = tinyOnnx('float32', 'Identity', { rank: 2 });
  const ages = await publish(
    folder,
    'ages',
    identity,
    {
      signatures: identity.manifest.signatures,
      tasks: {
        'tabular-regression': {
          signature,
          input: { columns: [{ name: 'age', input: 'x', transform: { kind: 'standard', mean: 40, std: 10 } }] },
          output: { name: 'y', scale: 100, offset: 7 },
        },
      },
    },
    {},
  );
  return { pets, ages };
}

/** Publishes a model with what its task reads; returns its digest. */
async function publish(
  folder: string,
  name: string,
  { manifest: base, variant, readFile }: VariantSource,
  about: Pick<Manifest, 'tasks' | 'signatures'>,
  taskFiles: Readonly<Record<string, Uint8Array<ArrayBuffer>>>,
): Promise<string> {
  const files = new Map(Object.entries(taskFiles));
  for (const path of variant.files) files.set(path, await readFile(path));
  const described = await Promise.all([...files].map(async ([path, bytes]) => [path, await describeFile(bytes)] as const));
  const manifest: Manifest = { ...base, ...about, name, variants: [variant], files: Object.fromEntries(described) };
  const bytes = encodeManifest(manifest);
  const digest = await digestOf(bytes);
  await writeVersion(join(folder, name, '1'), { manifest, digest, files: files.set('manifest.json', bytes) });
  await writeVersionsFile(join(folder, name), name, [{ version: '1', digest }]);
  return digest;
}

/** Cats or dogs: the score of each token's class, the best of all tokens. */
export function catsAndDogs(): VariantSource {
  const { vocab } = JSON.parse(new TextDecoder().decode(tokenizer)).model as { vocab: Record<string, number> };
  const rows = Array.from({ length: Object.keys(vocab).length + 2 }, () => [0, 0]);
  rows[vocab['cat']!] = [9, 0];
  rows[vocab['dog']!] = [0, 9];
  return graphSource({
    nodes: [
      placeholder('ids', 'int32'),
      node('vectors', 'GatherV2', ['embedding', 'ids', 'axis0'], {
        Tparams: type('float32'),
        Tindices: type('int32'),
        Taxis: type('int32'),
      }),
      node('logits', 'Max', ['vectors', 'axis1'], { T: type('float32'), Tidx: type('int32'), keep_dims: bool(false) }),
    ],
    weights: [
      weight('embedding', 'float32', [rows.length, 2], rows.flat()),
      weight('axis0', 'int32', [], [0]),
      weight('axis1', 'int32', [], [1]),
    ],
    signatures: { [signature]: { inputs: { ids: 'int32' }, outputs: { logits: 'float32' } } },
  });
}

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeFile, digestOf, encodeManifest, type Manifest, type VariantSource } from '../../src/core/index.ts';
import { type RunningServer, startServer } from '../../src/server/index.ts';
import { bool, graphSource, node, placeholder, type, weight } from '../support/graph-models.ts';
import { openTempFolder, writeVersion } from '../support/model-folder.ts';
import { tinyOnnx } from '../support/tiny-models.ts';

// Tasks through the whole server: real sockets, files and engines.

let folder: Awaited<ReturnType<typeof openTempFolder>>;
let server: RunningServer;

const signature = 'serving_default';
const tokenizer = new Uint8Array(readFileSync(new URL('../fixtures/text/bert-uncased.json', import.meta.url)));

/** Publishes a model with what its task reads; returns its digest. */
async function publish(
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
  await writeVersion(join(folder.path, name, '1'), { manifest, digest, files: files.set('manifest.json', bytes) });
  return digest;
}

/** Cats or dogs: the score of each token's class, the best of all tokens. */
function catsAndDogs(): VariantSource {
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

const digests: Record<string, string> = {};

beforeAll(async () => {
  folder = await openTempFolder();
  digests['pets'] = await publish(
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
  digests['ages'] = await publish(
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
  server = await startServer({
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 0,
    modelsRoot: folder.path,
    backends: ['tfjs-wasm', 'onnx-cpu'],
    engineThreads: 1,
    maxEngineWorkers: 1,
    logLevel: 'silent',
  });
  await server.whenReady();
});

afterAll(async () => {
  await server.close();
  await folder[Symbol.asyncDispose]();
});

async function ask(path: string, input: unknown, headers: Record<string, string> = {}) {
  const url = `${server.restAddress}/nearfar/v1/models/${path}`;
  const response = await fetch(url, { method: 'POST', body: JSON.stringify(input), headers });
  return { status: response.status, answer: await response.json() };
}

test.each([
  ['A photo of a CAT.', 'cat', 0],
  ['Dog!', 'dog', 1],
])('classifies a text on tfjs: %s', async (text, label, index) => {
  const { status, answer } = await ask('pets/versions/1/tasks/text-classification?topK=1', text);

  expect(status).toBe(200);
  const score = expect.closeTo(1 / (1 + Math.exp(-9)), 5);
  expect(answer).toMatchObject({ digest: digests['pets'], backend: 'tfjs-wasm', output: [{ label, index, score }] });
});

test('gives the numbers of a row on ONNX Runtime, and refuses a client that is pinned to another digest', async () => {
  const row = { age: 55 };
  const pinned = await ask('ages/tasks/tabular-regression', row, { 'nearfar-model-digest': digests['ages']! });
  const other = await ask('ages/tasks/tabular-regression', row, { 'nearfar-model-digest': digests['pets']! });

  expect(pinned).toMatchObject({ status: 200, answer: { digest: digests['ages'], backend: 'onnx-cpu', output: [157] } });
  expect(other).toMatchObject({ status: 409, answer: { code: 'version-mismatch' } });
});

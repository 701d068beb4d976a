import { writeFileSync } from 'node:fs';
import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { decodeExample, decodeSafetensors, filesOfVariant, type Manifest, parseManifest } from '../../src/core/index.ts';
import { importDirectory, inspect, publish, verify } from '../../src/publish/index.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { sharedData } from '../support/shared-data.ts';

const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/savedmodel/${name}`, import.meta.url));
const tableModel = fixture('table_v1');

describe('a SavedModel', () => {
  test('is published with its own files, which belong to no variant, so that TensorFlow reads the same folder', async () => {
    await using repository = await openTempFolder();

    const { manifest } = await publish([tableModel], { name: 'table', repository: repository.path });

    const version = join(repository.path, 'table/1');
    const originals = ['assets/nearfar-vocabulary.txt', 'saved_model.pb'];
    expect(Object.keys(manifest.files)).toEqual(expect.arrayContaining(originals));
    for (const path of originals) expect(await readFile(join(version, path))).toEqual(await readFile(join(tableModel, path)));
    for (const variant of manifest.variants) {
      for (const path of originals) expect(filesOfVariant(manifest, variant)).not.toContain(path);
    }
    await verify(repository.path, 'table', '1');
    expect(await inspect(join(version, 'saved_model.pb'))).toMatchObject({ kind: 'source', format: 'saved-model' });
  });

  test('is published without them where that is wanted, and importing a directory copies none', async () => {
    await using repository = await openTempFolder();

    const { manifest } = await publish([tableModel], { name: 'table', repository: repository.path, original: false });
    await importDirectory(tableModel, join(repository.path, 'imported'), { name: 'table', version: '1' });

    expect(manifest.provenance?.['options']).toEqual({ original: false });
    expect(Object.keys(manifest.files).some((path) => path.includes('saved_model') || path.startsWith('assets'))).toBe(false);
    expect((await readdir(join(repository.path, 'imported'))).sort()).toEqual(['golden', 'manifest.json', 'tfjs']);
  });

  test('that changes while it is published is not published', async () => {
    await using folder = await openTempFolder();
    const source = join(folder.path, 'source');
    await cp(tableModel, source, { recursive: true });
    const vocabulary = join(source, 'assets/nearfar-vocabulary.txt');
    const text = await readFile(vocabulary, 'utf8');

    const publishing = publish([source], {
      name: 'table',
      repository: join(folder.path, 'out'),
      onProgress: (step) => {
        // What is one file's content when it is described is another one's when it is written.
        if (step === 'write') writeFileSync(vocabulary, text.toUpperCase());
      },
    });

    await expect(publishing).rejects.toMatchObject({ code: 'integrity-mismatch', message: expect.stringContaining('changed') });
    expect(await readdir(join(folder.path, 'out/table'))).toEqual([]);
  });
});

describe('golden examples', () => {
  test('of a table hold keys that it has and one that it has not', async () => {
    await using repository = await openTempFolder();

    const { manifest } = await publish([tableModel], { name: 'table', repository: repository.path });

    const { inputs, outputs } = await goldenOf(join(repository.path, 'table/1'), manifest, 'serving_default');
    const words = textsOf(inputs, 'words');
    const vocabulary = (await readFile(join(tableModel, 'assets/nearfar-vocabulary.txt'), 'utf8'))
      .split(/\n/)
      .map((line) => line.split('\t')[0]);
    expect(words).toHaveLength(4);
    expect(words.at(-1)).toBe('nearfar-unknown');
    for (const word of words.slice(0, -1)) expect([...vocabulary, 'a', 'b']).toContain(word);
    const found = ['ids', 'given'].flatMap((name) => Array.from(outputs[name]?.data ?? [], Number));
    expect(found.some((value) => value > 0)).toBe(true);
  });

  test('of serialized tf.Examples have the features that the model parses', async () => {
    await using repository = await openTempFolder();

    const { manifest } = await publish([fixture('parse_example')], { name: 'parse', repository: repository.path });

    const { inputs, outputs } = await goldenOf(join(repository.path, 'parse/1'), manifest, 'serving_default');
    const [bytes] = (inputs['inputs']?.data ?? []) as readonly Uint8Array[]; // its dtype is string
    const example = decodeExample(bytes!);
    expect([...example].map(([name, { kind, values }]) => [name, kind, values.length])).toEqual([
      ['n', 'int64', 1],
      ['s', 'bytes', 1],
      ['x', 'float', 2],
    ]);
    expect(outputs['scores']?.shape).toEqual([1, 2]);
    expect(manifest.golden.map(({ signature }) => signature)).toEqual(expect.arrayContaining(['serving_default', 'parsed']));
  });

  test('of every signature of the classic test model, whose examples have no declared rank', async (context) => {
    const model = sharedData('tfs-testdata/saved_model_half_plus_two_cpu/00000123');
    if (model === undefined) return context.skip('the shared data is absent');
    await using repository = await openTempFolder();

    const { manifest } = await publish([model], { name: 'half', repository: repository.path });

    expect(manifest.signatures['classify_x_to_y']?.inputs['inputs']).toEqual({ dtype: 'string', shape: [-1] });
    const signatures = Object.keys(manifest.signatures);
    expect(signatures).toEqual(['classify_x_to_y', 'regress_x2_to_y3', 'regress_x_to_y', 'regress_x_to_y2', 'serving_default']);
    expect([...new Set(manifest.golden.map(({ signature }) => signature))]).toEqual(signatures);
    const { inputs, outputs } = await goldenOf(join(repository.path, 'half/1'), manifest, 'regress_x_to_y');
    const [bytes] = (inputs['inputs']?.data ?? []) as readonly Uint8Array[]; // its dtype is string
    const x = Number(decodeExample(bytes!).get('x')?.values[0]);
    expect(outputs['outputs']?.data[0]).toBeCloseTo(x / 2 + 2, 5);
  });

  test('come from warm-up records where the model has some; other signatures get made-up ones', async (context) => {
    const model = sharedData('tfs-testdata/saved_model_half_plus_two_cpu/00000123');
    const warmup = sharedData('tfs-protos/tf_serving_warmup_requests');
    if (model === undefined || warmup === undefined) return context.skip('the shared data is absent');
    await using folder = await openTempFolder();
    const source = join(folder.path, 'source');
    await cp(model, source, { recursive: true });
    await mkdir(join(source, 'assets.extra'));
    await cp(warmup, join(source, 'assets.extra/tf_serving_warmup_requests'));

    const { manifest } = await publish([source], { name: 'half', repository: join(folder.path, 'out') });

    expect(manifest.provenance?.['golden']).toMatchObject({ inputs: 'warm-up' });
    expect(Object.keys(manifest.files)).toContain('assets.extra/tf_serving_warmup_requests');
    const { inputs, outputs } = await goldenOf(join(folder.path, 'out/half/1'), manifest, 'serving_default');
    // The recorded request of the shared data: x = 1, 2, 5.
    expect(Array.from(inputs['x']?.data ?? [], Number)).toEqual([1, 2, 5]);
    expect(Array.from(outputs['y']?.data ?? [], Number)).toEqual([2.5, 3, 4.5]);
    expect([...new Set(manifest.golden.map(({ signature }) => signature))]).toHaveLength(5);
  });

  test('a damaged warm-up record is told', async () => {
    await using folder = await openTempFolder();
    const source = join(folder.path, 'source');
    await cp(tableModel, source, { recursive: true });
    await mkdir(join(source, 'assets.extra'));
    await writeFile(join(source, 'assets.extra/tf_serving_warmup_requests'), new Uint8Array(40));

    await expect(publish([source], { name: 'm', repository: join(folder.path, 'out') })).rejects.toMatchObject({
      code: 'integrity-mismatch',
    });
  });
});

/** The first golden example of a signature. */
async function goldenOf(version: string, { golden }: Manifest, signature: string) {
  const example = golden.find((each) => each.signature === signature);
  const read = async (path = '') => decodeSafetensors(new Uint8Array(await readFile(join(version, path))));
  return { inputs: await read(example?.inputs), outputs: await read(example?.outputs) };
}

function textsOf(tensors: ReturnType<typeof decodeSafetensors>, name: string): string[] {
  const tensor = tensors[name];
  return tensor?.dtype === 'string' ? tensor.data.map((bytes) => new TextDecoder().decode(bytes)) : [];
}

test('the manifest of a published SavedModel can be read back', async () => {
  await using repository = await openTempFolder();
  const { manifest } = await publish([tableModel], { name: 'table', repository: repository.path });

  const read = parseManifest(new Uint8Array(await readFile(join(repository.path, 'table/1/manifest.json'))));

  expect(read).toEqual(manifest);
});

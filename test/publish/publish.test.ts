import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { decodeSafetensors, parseManifest, parseVersions } from '../../src/core/index.ts';
import { type PublishOptions, publish, verify } from '../../src/publish/index.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { scalingModel } from '../support/onnx-writer.ts';
import { demoModel, sharedData } from '../support/shared-data.ts';

const builtIn = fileURLToPath(new URL('../../models/everyday10', import.meta.url));
const tfjs = join(builtIn, '1/tfjs');
const onnx = join(builtIn, '1/onnx/model.onnx');
const labels = new Uint8Array(await readFile(join(builtIn, '1/labels.txt')));

const everyday10 = {
  name: 'everyday10',
  license: 'Apache-2.0',
  task: { task: 'image-classification', labels },
} as const satisfies Partial<PublishOptions>;

describe('a GraphModel and an ONNX file', () => {
  test('become one version with both variants, checked on the backends of this machine', async () => {
    await using repository = await openTempFolder();

    const { pin, manifest, checks } = await publish([onnx, tfjs], { ...everyday10, repository: repository.path });

    expect(pin.version).toBe('1');
    expect(manifest.signatures).toEqual({
      serving_default: {
        method: 'predict',
        inputs: { image: { dtype: 'float32', shape: [-1, 32, 32, 3] } },
        outputs: { probabilities: { dtype: 'float32', shape: [-1, 10] } },
      },
    });
    expect(manifest.variants.map(({ id, bindings }) => [id, bindings?.['serving_default']])).toEqual([
      ['onnx-float32', { inputs: { image: { tensor: 'image', layout: 'NHWC' } }, outputs: { probabilities: { tensor: 'probabilities' } } }],
      ['tfjs-float32', { inputs: { image: { tensor: 'image:0', layout: 'NHWC' } }, outputs: { probabilities: { tensor: 'Identity:0' } } }],
    ]);
    expect(manifest.tasks?.['image-classification']).toMatchObject({
      input: { name: 'image', resize: { shorterSide: 32 }, crop: [32, 32], layout: 'NHWC', scale: 1 / 255 },
      output: { name: 'probabilities', activation: 'none', labels: 'labels.txt' },
    });
    expect(checks.filter(({ agreement }) => agreement?.isWithin).map(({ backend }) => backend)).toEqual(
      expect.arrayContaining(['onnx-wasm', 'tfjs-wasm']),
    );
    const versions = parseVersions(await bytesOf(repository.path, 'everyday10/versions.json'));
    expect(versions).toMatchObject({ versions: [pin], labels: { stable: '1' } });
  });

  test('golden examples are pictures through the task and the reference answer to them', async () => {
    const inputs = decodeSafetensors(await bytesOf(builtIn, '1/golden/0.in.safetensors'));
    const outputs = decodeSafetensors(await bytesOf(builtIn, '1/golden/0.out.safetensors'));

    expect(inputs['image']?.shape).toEqual([1, 32, 32, 3]);
    expect(Array.from(inputs['image']?.data ?? [], Number).every((value) => value >= 0 && value <= 1)).toBe(true);
    expect(Array.from(outputs['probabilities']?.data ?? [], Number).reduce((sum, value) => sum + value, 0)).toBeCloseTo(1, 5);
  });
});

test('publishing the demo model again gives the committed digest', async (context) => {
  const source = demoModel('everyday10');
  if (source === undefined) return context.skip('the demo model is absent');
  await using repository = await openTempFolder();
  const committed = parseManifest(await bytesOf(builtIn, '1/manifest.json'));

  const { pin } = await publish([join(source, 'tfjs'), join(source, 'onnx')], {
    ...everyday10,
    repository: repository.path,
    description: committed.description,
    task: { task: 'image-classification', labels: await bytesOf(source, 'labels.txt') },
  });

  expect(pin).toEqual(parseVersions(await bytesOf(builtIn, 'versions.json')).versions[0]);
});

describe('version numbers', () => {
  test('the next free one is taken, labels move, and a published version is never overwritten', async () => {
    await using repository = await openScaling({ factor: 2 });
    const options = { name: 'scale', repository: repository.path };

    const first = await publish([repository.source], options);
    const tenth = await publish([repository.source], { ...options, version: '10', labels: ['canary'] });
    const next = await publish([repository.source], options);
    const again = publish([repository.source], { ...options, version: '10' });

    await expect(again).rejects.toMatchObject({ code: 'already-exists', details: { version: '10' } });
    expect([first, tenth, next].map(({ pin }) => pin.version)).toEqual(['1', '10', '11']);
    const versions = parseVersions(await bytesOf(repository.path, 'scale/versions.json'));
    expect(versions.versions.map(({ version }) => version)).toEqual(['1', '10', '11']);
    expect(versions.labels).toEqual({ stable: '1', canary: '10' });
    expect(await readdir(join(repository.path, 'scale'))).toEqual(['1', '10', '11', 'versions.json']);
  });

  test('publishers at once get a number each, and versions.json knows all of them', async () => {
    await using repository = await openScaling({ factor: 2 });

    const reports = await Promise.all([1, 2, 3, 4].map(() => publish([repository.source], { name: 'scale', repository: repository.path })));

    expect(reports.map(({ pin }) => pin.version).sort()).toEqual(['1', '2', '3', '4']);
    const { versions } = parseVersions(await bytesOf(repository.path, 'scale/versions.json'));
    expect(versions).toEqual(expect.arrayContaining(reports.map(({ pin }) => pin)));
    for (const { version } of versions) await verify(repository.path, 'scale', version);
  });

  test('of publishers at once that want one number, one wins', async () => {
    await using repository = await openScaling({ factor: 2 });
    const options = { name: 'scale', repository: repository.path, version: '7' };

    const outcomes = await Promise.allSettled([1, 2, 3].map(() => publish([repository.source], options)));

    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const outcome of outcomes) if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'already-exists' });
    expect(await readdir(join(repository.path, 'scale'))).toEqual(['7', 'versions.json']);
  });

  test('the lock of a publisher that died is cleared away', async () => {
    await using repository = await openScaling({ factor: 2 });
    await mkdir(join(repository.path, 'scale'));
    const { hostname } = await import('node:os');
    // No process has this number: Linux ends at 2^22, macOS at 99998.
    await writeFile(join(repository.path, 'scale/.publish.lock'), `4194305 ${hostname()} x`);

    const { pin } = await publish([repository.source], { name: 'scale', repository: repository.path });

    expect(pin.version).toBe('1');
  });
});

describe('what is refused publishes nothing', () => {
  test('a variant that does not give the golden outputs', async () => {
    await using repository = await openScaling({ factor: 2, other: 2.01 });

    const publishing = publish([repository.source, repository.other], { name: 'scale', repository: join(repository.path, 'out') });

    await expect(publishing).rejects.toMatchObject({ code: 'self-test-failed', details: { output: 'y' } });
    await expect(readdir(join(repository.path, 'out'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('a variant that takes only one batch size where the signature takes any', async () => {
    await using repository = await openScaling({ factor: 2, other: 2, otherShape: [1, 3] });

    const publishing = publish([repository.source, repository.other], { name: 'scale', repository: join(repository.path, 'out') });

    await expect(publishing).rejects.toMatchObject({ code: 'invalid-argument', details: { name: 'x' } });
  });

  test.each([
    ['more labels than classes', { labels: new TextEncoder().encode('a\nb\n') }, 'shape-mismatch'],
    ['a crop of another size than the input', { crop: [64, 64] as const }, 'shape-mismatch'],
    ['a crop larger than the picture', { shorterSide: 16 }, 'invalid-argument'],
    ['an output that is not there', { output: 'logits' }, 'invalid-argument'],
  ])('%s', async (_, task, code) => {
    await using repository = await openTempFolder();

    const publishing = publish([tfjs], { name: 'm', repository: repository.path, task: { task: 'image-classification', labels, ...task } });

    await expect(publishing).rejects.toMatchObject({ code });
    expect(await readdir(repository.path)).toEqual([]);
  });

  test('names, versions and sources that cannot be', async () => {
    await using repository = await openScaling({ factor: 2 });
    const { path, source } = repository;
    const other = async (name: string, bytes: Uint8Array) => {
      await writeFile(join(path, name), bytes);
      return publish([join(path, name)], { name: 'm', repository: path });
    };

    await expect(publish([source], { name: 'a/b', repository: path })).rejects.toMatchObject({ code: 'invalid-argument' });
    for (const name of ['.hidden', 'm@1', '@scope']) {
      await expect(publish([source], { name, repository: path })).rejects.toMatchObject({ code: 'invalid-argument' });
    }
    for (const label of ['', '7']) {
      await expect(publish([source], { name: 'm', labels: ['beta', label], repository: path })).rejects.toMatchObject({
        code: 'invalid-argument',
        message: expect.stringContaining(`"${label}" is no label`),
      });
    }
    await expect(publish([source], { name: 'm', version: '01', repository: path })).rejects.toMatchObject({ code: 'invalid-argument' });
    await expect(publish([source], { name: 'm', rename: { z: 'y' }, repository: path })).rejects.toMatchObject({
      code: 'invalid-argument',
    });
    await expect(publish([], { name: 'm', repository: path })).rejects.toMatchObject({ code: 'invalid-argument' });
    await expect(publish([join(path, 'none.onnx')], { name: 'm', repository: path })).rejects.toMatchObject({ code: 'not-found' });
    await expect(other('saved_model.pb', Uint8Array.of(8, 1))).rejects.toMatchObject({ code: 'invalid-argument' });
    await expect(other('model.h5', Uint8Array.of(0x89, 0x48, 0x44, 0x46))).rejects.toMatchObject({ code: 'invalid-argument' });
    await expect(publish([source], { name: 'm', repository: path, prune: 0.5 })).rejects.toMatchObject({ code: 'unsupported' });
    await expect(publish([source], { name: 'm', repository: path, prune: 1 })).rejects.toMatchObject({ code: 'invalid-argument' });
    await expect(publish([source], { name: 'm', repository: path, minAgreement: 2 })).rejects.toMatchObject({ code: 'invalid-argument' });
    await expect(other('cut.onnx', scalingModel(2).slice(0, -9))).rejects.toMatchObject({
      code: 'invalid-argument',
    });
  });

  test('a shard outside the folder of its model.json', async () => {
    await using folder = await openTempFolder();
    const document = { format: 'graph-model', modelTopology: { node: [] }, weightsManifest: [{ paths: ['../secret'], weights: [] }] };
    await writeFile(join(folder.path, 'model.json'), JSON.stringify(document));

    await expect(publish([folder.path], { name: 'm', repository: folder.path })).rejects.toMatchObject({
      code: 'invalid-argument',
      details: { shard: '../secret' },
    });
  });

  test('an aborted call rejects with the reason', async () => {
    await using repository = await openScaling({ factor: 2 });
    const reason = new Error('enough');

    const publishing = publish([repository.source], { name: 'scale', repository: repository.path, signal: AbortSignal.abort(reason) });

    await expect(publishing).rejects.toBe(reason);
    expect(await readdir(repository.path)).not.toContain('scale');
  });
});

describe('MobileNetV2: a GraphModel with two outputs, an ONNX file in NCHW with logits alone', () => {
  test('both variants give logits and probabilities', async (context) => {
    const graph = sharedData('tfjs/mobilenetv2-dq-graph');
    const model = sharedData('onnx/mobilenetv2-dq-fp32');
    const imagenet = sharedData('labels/imagenet1000.json');
    if (graph === undefined || model === undefined || imagenet === undefined) return context.skip('the shared data is absent');
    await using repository = await openTempFolder();
    const preprocessor = {
      do_resize: true,
      size: { shortest_edge: 256 },
      resample: 2,
      do_center_crop: true,
      crop_size: { height: 224, width: 224 },
      rescale_factor: 1 / 255,
      image_mean: [0.485, 0.456, 0.406],
      image_std: [0.229, 0.224, 0.225],
    };

    const { manifest } = await publish([graph, model], {
      name: 'mobilenetv2',
      repository: repository.path,
      rename: { 'Identity:0': 'logits', Identity_1: 'probabilities' },
      task: {
        task: 'image-classification',
        labels: new Uint8Array(await readFile(imagenet)),
        preprocessor: new TextEncoder().encode(JSON.stringify(preprocessor)),
      },
    });

    expect(manifest.variants[1]?.bindings?.['serving_default']).toEqual({
      inputs: { input: { tensor: 'input', layout: 'NCHW' } },
      outputs: { logits: { tensor: 'output' }, probabilities: { tensor: 'output', activation: 'softmax' } },
    });
    expect(manifest.tasks?.['image-classification']).toMatchObject({
      input: { resize: { shorterSide: 256 }, crop: [224, 224], mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
      output: { name: 'probabilities', activation: 'none' },
    });
    // The head is 1280 x 1000 floats: with its own chunks, a new one costs no other large tensor.
    const weights = manifest.files['tfjs/weights.bin'];
    expect(weights?.chunks.length).toBeGreaterThan(10);
    expect(weights?.chunks.length).toBeLessThan(100);
  });
});

/** A folder with one or two small ONNX models, y = x * factor, to publish into itself. */
async function openScaling(models: { factor: number; other?: number; otherShape?: readonly (number | string)[] }) {
  const folder = await openTempFolder();
  const source = join(folder.path, 'a.onnx');
  const other = join(folder.path, 'b.onnx');
  await writeFile(source, scalingModel(models.factor));
  await writeFile(other, scalingModel(models.other ?? models.factor, models.otherShape));
  return { ...folder, source, other };
}

async function bytesOf(...path: [string, string]): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await readFile(join(...path)));
}

test('where nothing can be written, no model is read first', async () => {
  await using folder = await openTempFolder();
  const file = join(folder.path, 'file');
  await writeFile(file, '');
  await mkdir(join(folder.path, 'repository/m/7'), { recursive: true });
  const missing = [join(folder.path, 'no-model.onnx')];

  const throughFile = publish(missing, { name: 'm', repository: join(file, 'repository') });
  const taken = publish(missing, { name: 'm', repository: join(folder.path, 'repository'), version: '7' });

  await expect(throughFile).rejects.toMatchObject({ code: 'invalid-argument', details: { errno: 'ENOTDIR' } });
  await expect(taken).rejects.toMatchObject({ code: 'already-exists' });
});

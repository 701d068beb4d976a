import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { inspect, publish } from '../../src/publish/index.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { node, onnxModel, valueInfo } from '../support/onnx-writer.ts';
import { sharedData } from '../support/shared-data.ts';

const builtIn = fileURLToPath(new URL('../../models/everyday10/1', import.meta.url));
const savedModel = fileURLToPath(new URL('../fixtures/savedmodel/table_v1', import.meta.url));
const classNames = (await readFile(join(builtIn, 'labels.txt'), 'utf8')).trim().split('\n');

const config = {
  architectures: ['ResNetForImageClassification'],
  model_type: 'resnet',
  id2label: Object.fromEntries(classNames.map((name, index) => [index, name])),
};
const preprocessor = { do_resize: true, size: { height: 32, width: 32 }, resample: 2, image_mean: [0, 0, 0], image_std: [1, 1, 1] };

/** A folder like those of Hugging Face's hub, around an ONNX file. */
async function openHubFolder(files: Readonly<Record<string, unknown>>, model = 'onnx/model.onnx') {
  const folder = await openTempFolder();
  const source = join(folder.path, 'hub');
  await mkdir(join(source, 'onnx'), { recursive: true });
  await cp(join(builtIn, 'onnx/model.onnx'), join(source, model));
  for (const [name, content] of Object.entries(files)) await writeFile(join(source, name), JSON.stringify(content));
  return { ...folder, source, out: join(folder.path, 'out') };
}

describe('a folder of Hugging Face Transformers', () => {
  test.each(['onnx/model.onnx', 'model.onnx'])('with %s is an image classifier with its labels and preprocessing', async (model) => {
    await using hub = await openHubFolder({ 'config.json': config, 'preprocessor_config.json': preprocessor }, model);
    await writeFile(join(hub.source, 'onnx/model_quantized.onnx'), 'not looked at');

    const { manifest } = await publish([hub.source], { name: 'hub', repository: hub.out });

    expect(manifest.tasks?.['image-classification']).toMatchObject({
      input: { name: 'image', crop: [32, 32], resize: { size: [32, 32] }, mean: [0, 0, 0] },
      output: { name: 'probabilities', labels: 'labels.txt' },
    });
    expect((await readFile(join(hub.out, 'hub/1/labels.txt'), 'utf8')).trim().split('\n')).toEqual(classNames);
  });

  test('options win over what it says, and the task can be left out', async () => {
    await using hub = await openHubFolder({ 'config.json': config, 'preprocessor_config.json': preprocessor });

    const said = await publish([hub.source], {
      name: 'hub',
      repository: hub.out,
      task: { task: 'image-classification', mean: [0.5, 0.5, 0.5] },
    });
    const none = await publish([hub.source], { name: 'hub', repository: hub.out, task: 'none' });

    expect(said.manifest.tasks?.['image-classification']?.input.mean).toEqual([0.5, 0.5, 0.5]);
    expect(said.manifest.tasks?.['image-classification']?.output.labels).toBe('labels.txt');
    expect(none.manifest.tasks).toBeUndefined();
  });

  test('a detector has labels and a preprocessor, too, and gets no task', async () => {
    const detector = { ...config, architectures: ['DetrForObjectDetection'] };
    await using hub = await openHubFolder({ 'config.json': detector, 'preprocessor_config.json': preprocessor });

    const { manifest } = await publish([hub.source], { name: 'hub', repository: hub.out });

    expect(manifest.tasks).toBeUndefined();
  });

  test('preprocessing that nearfar does not have is told, and nothing is published', async () => {
    await using hub = await openHubFolder({ 'config.json': config, 'preprocessor_config.json': { ...preprocessor, resample: 3 } });

    await expect(publish([hub.source], { name: 'hub', repository: hub.out })).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('resample: 3'),
    });
  });

  test('leaves all sizes of its pictures open, which then are NCHW and as large as the preprocessor makes them', async () => {
    await using hub = await openHubFolder({
      'config.json': { ...config, id2label: { 0: 'red', 1: 'green', 2: 'blue' } },
      'preprocessor_config.json': { ...preprocessor, size: { height: 24, width: 20 } },
    });
    const model = onnxModel([
      [1, node('GlobalAveragePool', ['pixel_values'], ['pooled'])],
      [1, node('Flatten', ['pooled'], ['logits'])],
      [11, valueInfo('pixel_values', 1, ['batch', 'channels', 'height', 'width'])],
      [12, valueInfo('logits', 1, ['batch', 'classes'])],
    ]);
    await writeFile(join(hub.source, 'onnx/model.onnx'), model);

    const { manifest } = await publish([hub.source], { name: 'hub', repository: hub.out });

    expect(manifest.tasks?.['image-classification']).toMatchObject({
      input: { name: 'pixel_values', layout: 'NCHW', crop: [24, 20], resize: { size: [24, 20] } },
      output: { name: 'logits', activation: 'softmax' },
    });
  });

  test('with saved_model/1, as TensorFlow models are exported there', async () => {
    await using folder = await openTempFolder();
    await cp(savedModel, join(folder.path, 'saved_model/1'), { recursive: true });
    await writeFile(join(folder.path, 'config.json'), JSON.stringify({ model_type: 'bert', architectures: ['TFBertModel'] }));

    expect(await inspect(folder.path)).toMatchObject({ kind: 'source', format: 'saved-model' });
  });
});

test('of a folder of versions, as the Pusher of TFX leaves it, the latest is taken by its number', async () => {
  await using folder = await openTempFolder();
  for (const version of ['9', '1700000000', '10']) await cp(savedModel, join(folder.path, 'pushed', version), { recursive: true });
  await writeFile(join(folder.path, 'pushed/9/saved_model.pb'), 'damaged');
  await writeFile(join(folder.path, 'pushed/10/saved_model.pb'), 'damaged');

  const { manifest } = await publish([join(folder.path, 'pushed')], { name: 'pushed', repository: join(folder.path, 'out') });

  expect(manifest.provenance?.['sources']).toMatchObject([{ format: 'saved-model' }]);
});

test('a folder of TensorFlow Hub is the SavedModel in it', async (context) => {
  const model = sharedData('savedmodel/resnet8_cifar10/1');
  if (model === undefined) return context.skip('the shared data is absent');
  await using folder = await openTempFolder();
  await cp(model, join(folder.path, 'module'), { recursive: true });
  await writeFile(join(folder.path, 'module/tfhub_module.pb'), Uint8Array.of(8, 3));

  const { manifest } = await publish([join(folder.path, 'module')], { name: 'module', repository: join(folder.path, 'out') });

  expect(manifest.variants.map(({ id }) => id)).toEqual(['tfjs-float32', 'onnx-float32']);
  expect(Object.keys(manifest.files)).toContain('saved_model.pb');
});

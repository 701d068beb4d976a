import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { digestOf, parseManifest } from '../../src/core/index.ts';
import { importDirectory } from '../../src/publish/index.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { onnxModel, scalingModel, valueInfo } from '../support/onnx-writer.ts';
import { sharedData } from '../support/shared-data.ts';

const builtIn = fileURLToPath(new URL('../../models/everyday10/1', import.meta.url));

test('a directory with an ONNX file becomes a whole version, with the same bytes each time', async () => {
  await using folder = await openTempFolder();
  await writeFile(join(folder.path, 'model.onnx'), scalingModel(3));

  const first = await importDirectory(folder.path, join(folder.path, 'out1'), { name: 'scale', version: '5' });
  const second = await importDirectory(folder.path, join(folder.path, 'out2'), { name: 'scale', version: '5' });

  const bytes = new Uint8Array(await readFile(join(folder.path, 'out1/manifest.json')));
  const manifest = parseManifest(bytes);
  expect(first).toEqual(second);
  expect(first).toEqual({ version: '5', digest: await digestOf(bytes) });
  expect(manifest.signatures['serving_default']).toEqual({
    method: 'predict',
    inputs: { x: { dtype: 'float32', shape: [-1, 3] } },
    outputs: { y: { dtype: 'float32', shape: [-1, 3] } },
  });
  const onDisk = await readdir(join(folder.path, 'out1'), { recursive: true, withFileTypes: true });
  const files = onDisk.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  expect(files.length).toBe(Object.keys(manifest.files).length + 1);
});

test('the same content with another number differs in nothing but the number', async () => {
  await using folder = await openTempFolder();
  await writeFile(join(folder.path, 'model.onnx'), scalingModel(3));
  const importAs = async (version: string) => {
    await importDirectory(folder.path, join(folder.path, version), { name: 'scale', version });
    return parseManifest(new Uint8Array(await readFile(join(folder.path, version, 'manifest.json'))));
  };

  expect({ ...(await importAs('1')), version: '2' }).toEqual(await importAs('2'));
});

test('a directory with tfjs/ and onnx/ becomes one version with two variants; the directory is not changed', async () => {
  await using folder = await openTempFolder();
  const plain = join(folder.path, 'plain');
  await cp(join(builtIn, 'tfjs'), join(plain, 'tfjs'), { recursive: true });
  await cp(join(builtIn, 'onnx'), join(plain, 'onnx'), { recursive: true });

  await importDirectory(plain, join(folder.path, 'out'), { name: 'everyday10', version: '1' });

  const manifest = parseManifest(new Uint8Array(await readFile(join(folder.path, 'out/manifest.json'))));
  expect(manifest.variants.map(({ id }) => id)).toEqual(['tfjs-float32', 'onnx-float32']);
  expect((await readdir(plain)).sort()).toEqual(['onnx', 'tfjs']);
});

const halfPlusTwo = sharedData('tfs-testdata/saved_model_half_plus_two_cpu/00000123');

test.runIf(halfPlusTwo)("a version of Triton's repository is read from its own folders", async () => {
  await using folder = await openTempFolder();
  const savedModel = join(folder.path, 'saved/model.savedmodel');
  await cp(halfPlusTwo ?? '', savedModel, { recursive: true });
  await mkdir(join(folder.path, 'onnx/model.onnx'), { recursive: true });
  await writeFile(join(folder.path, 'onnx/model.onnx/model.onnx'), scalingModel(3));

  const manifests = [];
  for (const layout of ['saved', 'onnx']) {
    const out = join(folder.path, `${layout}-out`);
    await importDirectory(join(folder.path, layout), out, { name: layout, version: '1' });
    manifests.push(parseManifest(new Uint8Array(await readFile(join(out, 'manifest.json')))));
  }

  expect(Object.keys(manifests[0]?.signatures ?? {})).toContain('regress_x_to_y');
  expect(manifests[1]?.variants.map(({ id }) => id)).toEqual(['onnx-float32']);
});

test('what is no model is refused, an empty directory as empty', async () => {
  await using folder = await openTempFolder();
  const saved = join(folder.path, 'saved');
  await mkdir(saved);
  await writeFile(join(saved, 'saved_model.pb'), Uint8Array.of(8, 1));
  await mkdir(join(folder.path, 'empty'));
  const options = { name: 'm', version: '1' };

  await expect(importDirectory(saved, join(folder.path, 'out'), options)).rejects.toMatchObject({ code: 'invalid-argument' });
  await expect(importDirectory(join(folder.path, 'empty'), join(folder.path, 'out'), options)).rejects.toMatchObject({ code: 'not-found' });
  await expect(readdir(join(folder.path, 'out'))).rejects.toMatchObject({ code: 'ENOENT' });
});

test('a model that ONNX Runtime refuses is refused', async () => {
  await using folder = await openTempFolder();
  await writeFile(
    join(folder.path, 'model.onnx'),
    onnxModel([
      [11, valueInfo('x', 1, [1])],
      [12, valueInfo('y', 1, [1])],
    ]),
  );

  await expect(importDirectory(folder.path, join(folder.path, 'out'), { name: 'm', version: '1' })).rejects.toMatchObject({
    name: 'NearfarError',
  });
});

test('models of the shared data are imported with their own shapes', async (context) => {
  const expected = {
    'onnx/mnist-8': {
      inputs: { Input3: { dtype: 'float32', shape: [1, 1, 28, 28] } },
      outputs: { Plus214_Output_0: { dtype: 'float32', shape: [1, 10] } },
    },
    'tfjs/kws-graph': {
      inputs: { input_1: { dtype: 'float32', shape: [-1, 49, 10, 1] } },
      outputs: { dense: { dtype: 'float32', shape: [-1, 12] } },
    },
    'onnx/matmul-quickstart': { inputs: { a: { dtype: 'float32', shape: [3, 4] }, b: { dtype: 'float32', shape: [4, 3] } } },
  };
  await using folder = await openTempFolder();
  for (const [path, signature] of Object.entries(expected)) {
    const directory = sharedData(path);
    if (directory === undefined) return context.skip('the shared data is absent');
    const out = join(folder.path, path);
    await importDirectory(directory, out, { name: 'm', version: '1' });
    const manifest = parseManifest(new Uint8Array(await readFile(join(out, 'manifest.json'))));
    expect(manifest.signatures['serving_default'], path).toMatchObject(signature);
  }
});

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { scanModels, writeModelConfigList } from '../../src/publish/index.ts';
import { openTempFolder } from '../support/model-folder.ts';

test('a folder of models becomes a model_config_list, each with its platform', async () => {
  await using folder = await openTempFolder();
  for (const file of ['flowers/1/model.onnx', 'flowers/2/model.onnx', 'half plus two/00000123/saved_model.pb', 'notes/readme.txt']) {
    await mkdir(join(folder.path, file, '..'), { recursive: true });
    await writeFile(join(folder.path, file), '');
  }

  const models = await scanModels(folder.path);

  expect(models.map(({ name, platform }) => [name, platform])).toEqual([
    ['flowers', 'onnx'],
    ['half plus two', 'tensorflow'],
  ]);
  expect(writeModelConfigList([{ name: 'ä"\\', basePath: '/models/ä', platform: 'onnx' }])).toBe(
    [
      'model_config_list {',
      '  config {',
      '    name: "\\303\\244\\"\\\\"',
      '    base_path: "/models/\\303\\244"',
      '    model_platform: "onnx"',
      '  }',
      '}',
      '',
    ].join('\n'),
  );
});

test('a folder without models is refused', async () => {
  await using folder = await openTempFolder();

  const scanning = scanModels(folder.path);

  await expect(scanning).rejects.toMatchObject({ code: 'not-found' });
});

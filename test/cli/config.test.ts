import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { build } from '../../scripts/build.mjs';
import { openTempFolder } from '../support/model-folder.ts';
import { repositoryRoot, runCommand } from '../support/packed.ts';

beforeAll(async () => {
  await build();
});

test('config prints a model_config_list, writes it to a file, and tells the models as JSON', async () => {
  await using folder = await openFolders();
  const out = join(folder.path, 'models.config');

  const printed = await nearfar('config', join(folder.path, 'models'));
  const written = await nearfar('config', join(folder.path, 'models'), '--out', out, '--json');

  expect(printed.status).toBe(0);
  expect(printed.stdout).toContain(`base_path: "${join(folder.path, 'models/half')}"`);
  expect(await readFile(out, 'utf8')).toBe(printed.stdout);
  expect(JSON.parse(written.stdout)).toEqual({
    out,
    models: [
      { name: 'half', basePath: join(folder.path, 'models/half'), platform: 'tensorflow' },
      { name: 'scale', basePath: join(folder.path, 'models/scale'), platform: 'onnx' },
    ],
  });
});

test('config exits with 1 for a folder without models', async () => {
  await using folder = await openTempFolder();

  const { status, stdout } = await nearfar('config', folder.path, '--json');

  expect(status).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'not-found', details: { directory: folder.path } } });
});

async function openFolders() {
  const folder = await openTempFolder();
  for (const [path, content] of [
    ['models/half/1/saved_model.pb', ''],
    ['models/scale/7/model.onnx', ''],
    ['models/notes/readme.txt', ''],
  ] as const) {
    await mkdir(join(folder.path, path, '..'), { recursive: true });
    await writeFile(join(folder.path, path), content);
  }
  return folder;
}

function nearfar(...args: string[]) {
  return runCommand(process.execPath, [join(repositoryRoot, 'dist/cli/main.js'), ...args]);
}

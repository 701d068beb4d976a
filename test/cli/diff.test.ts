import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { build } from '../../scripts/build.mjs';
import { publish } from '../../src/publish/index.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { scalingModel } from '../support/onnx-writer.ts';
import { repositoryRoot, runCommand } from '../support/packed.ts';
import { serveStatic } from '../support/static-server.ts';

let folder: Awaited<ReturnType<typeof openTempFolder>>;
let models: string;
beforeAll(async () => {
  await build();
  folder = await openTempFolder();
  models = join(folder.path, 'models');
  const model = join(folder.path, 'a.onnx');
  await writeFile(model, scalingModel(2));
  await publish([model], { name: 'scale', repository: models });
  await writeFile(model, scalingModel(3));
  await publish([model], { name: 'scale', repository: models, labels: ['canary'] });
});
afterAll(() => folder[Symbol.asyncDispose]());

test('diff tells what a client fetches, as JSON', async () => {
  const { status, stdout, stderr } = await nearfar('diff', 'scale@1', 'scale@canary', '--models', models, '--json');

  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  const diff = JSON.parse(stdout);
  expect(diff).toMatchObject({ from: { pin: { version: '1' } }, to: { pin: { version: '2' } }, variants: { added: [], removed: [] } });
  const [variant] = diff.common;
  expect(variant.tensors.changed).toHaveLength(1);
  expect(variant.fetchBytes).toBeGreaterThan(0);
  expect(variant.fetchBytes).toBeLessThanOrEqual(variant.totalBytes);
});

test('diff tells it in lines, of a repository behind a URL too, and that nothing changed', async () => {
  await using server = await serveStatic(models);

  const changed = await nearfar('diff', 'scale@1', 'scale@2', '--models', server.origin);
  const same = await nearfar('diff', 'scale@2', 'scale@2', '--models', models);

  expect(changed.stdout).toMatch(/a client fetches \d+ of \d+ bytes \(\d+ of \d+ chunks\)/);
  expect(changed.stdout).toMatch(/weights: 1 changed/);
  expect(same.stdout).toMatch(/a client fetches 0 of \d+ bytes/);
  expect(same.stdout).toContain('weights: the same');
});

test('diff exits with 1 for a version that is not there', async () => {
  const { status, stdout } = await nearfar('diff', 'scale@1', 'scale@9', '--models', models, '--json');

  expect(status).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'not-found' } });
});

function nearfar(...args: string[]) {
  return runCommand(process.execPath, [join(repositoryRoot, 'dist/cli/main.js'), ...args]);
}

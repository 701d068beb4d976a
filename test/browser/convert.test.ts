import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { convert } from '../../src/publish/index.ts';
import { launchBrowser, openTestPage, type TestBrowser } from '../support/browser.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { repositoryRoot } from '../support/packed.ts';
import type {} from '../support/page-convert/main.ts';
import { sharedData } from '../support/shared-data.ts';

let browser: TestBrowser;
beforeAll(async () => {
  browser = await launchBrowser({ gpu: false });
});
afterAll(() => browser[Symbol.asyncDispose]());

const fixture = join(repositoryRoot, 'test/fixtures/savedmodel/resource_variables');

test.each(['blobs', 'ranges'] as const)(
  'a page converts a SavedModel from %s to the bytes that Node makes, and runs it',
  async (access) => {
    const { inputs, outputs } = readCase();
    await using opened = await openPage(fixture, inputs.x.data);

    const made = await opened.page.evaluate(([how, paths, input]) => window.convertHere(how, paths, input), [
      access,
      listFiles(fixture),
      { name: 'x', shape: inputs.x.shape },
    ] as const);

    expect(made.digests).toEqual(await digestsOfNode(fixture));
    for (const [name, { data }] of Object.entries(outputs)) expectClose(made.outputs[name]!, data);
    expect(opened.logs).toEqual([]);
  },
);

const mobilenet = sharedData('savedmodel/mobilenetv2_dq/1');
const photo = sharedData('prepared/224/bee.png');
const recorded = sharedData('expected/savedmodel-mobilenetv2_dq.logits.f32');

test.skipIf(!mobilenet || !photo || !recorded)('a page converts MobileNetV2, 14 MB, and gives the recorded logits', async () => {
  // The second of the photos.
  const want = new Float32Array(new Uint8Array(readFileSync(recorded!)).buffer).slice(1000, 2000);
  await using opened = await openPage(mobilenet!, await readPhoto(photo!));

  const made = await opened.page.evaluate(([how, paths, input]) => window.convertHere(how, paths, input), [
    'ranges',
    listFiles(mobilenet!),
    { name: 'input', shape: [1, 224, 224, 3] },
  ] as const);

  expect(made.digests).toEqual(await digestsOfNode(mobilenet!));
  const largest = Math.max(...want.map(Math.abs));
  const differences = made.outputs['logits']!.map((value, index) => Math.abs(value - want[index]!));
  expect(differences.length).toBe(1000);
  expect(Math.max(...differences)).toBeLessThanOrEqual(1e-5 * largest);
});

async function openPage(model: string, input: ArrayLike<number>) {
  const body = new Uint8Array(Float32Array.from(input).buffer);
  return openTestPage(browser, {
    entry: 'test/support/page-convert/main.ts',
    mounts: { '/model/': model, '/input.f32': (_, response) => void response.end(body) },
  });
}

function listFiles(folder: string): string[] {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return entries.map(({ parentPath, name }) => join(parentPath, name).slice(folder.length + 1));
}

async function digestsOfNode(model: string): Promise<Record<string, string>> {
  await using folder = await openTempFolder();
  const out = join(folder.path, 'out');
  await convert(model, { out, formats: ['tfjs'] });
  const digests: Record<string, string> = {};
  for (const name of ['model.json', 'weights.bin']) {
    digests[name] = createHash('sha256')
      .update(await readFile(join(out, 'tfjs', name)))
      .digest('hex');
  }
  return digests;
}

interface Case {
  readonly dir: string;
  readonly signature: string;
  readonly inputs: { readonly x: { readonly shape: number[]; readonly data: number[] } };
  readonly outputs: Readonly<Record<string, { readonly data: number[] }>>;
}

function readCase(): Case {
  const cases: Case[] = JSON.parse(readFileSync(join(fixture, '../cases.json'), 'utf8'));
  return cases.find(({ dir, signature }) => dir === 'resource_variables' && signature === 'serving_default')!;
}

function expectClose(got: readonly number[], want: readonly number[]): void {
  expect(got.length).toBe(want.length);
  for (const [index, value] of want.entries()) expect(got[index]).toBeCloseTo(value, 4);
}

/** As the README of the shared data says. */
async function readPhoto(path: string): Promise<Float32Array> {
  const pixels = await sharp(path).removeAlpha().raw().toBuffer();
  const [mean, std] = [
    [0.485, 0.456, 0.406],
    [0.229, 0.224, 0.225],
  ];
  return Float32Array.from(pixels, (value, index) => (value / 255 - mean[index % 3]!) / std[index % 3]!);
}

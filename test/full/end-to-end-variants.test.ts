import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { publishMobileNetV2Variants } from '../support/parity-models.ts';

// MobileNetV2 from its SavedModel with weights of fewer bits, in both formats, compared on the shared photos while it is published.

interface Report {
  readonly measures: {
    readonly variant: string;
    readonly reference: string;
    readonly examples: number;
    readonly absolute: number;
    readonly top1: number;
    readonly bytesRatio: number;
  }[];
  readonly speeds: { readonly variant: string; readonly medianMs: number }[];
  readonly skipped: unknown[];
}

test('float16 and uint8 agree with float32 on the photos and are as small as they should be', async (context) => {
  const model = await publishMobileNetV2Variants(['float32', 'float16', 'uint8']);
  if (!model) return context.skip('the shared data is absent');
  const { repository, manifest, pin } = model;
  const path = join(repository, manifest.name, pin.version, 'report.json');
  const { measures, speeds, skipped }: Report = JSON.parse(await readFile(path, 'utf8'));

  expect(skipped).toEqual([]);
  expect(manifest.variants.map(({ id, precision }) => [id, precision])).toEqual(
    ['tfjs', 'onnx'].flatMap((family) => ['float32', 'float16', 'uint8'].map((precision) => [`${family}-${precision}`, precision])),
  );
  expect(measures.map(({ variant, reference }) => [variant, reference])).toEqual(
    ['tfjs', 'onnx'].flatMap((family) => ['float16', 'uint8'].map((precision) => [`${family}-${precision}`, `${family}-float32`])),
  );
  for (const { variant, examples, top1, bytesRatio, absolute } of measures) {
    expect(examples, variant).toBe(16); // 14 photos and the golden examples
    expect(top1, variant).toBe(1);
    expect(bytesRatio, variant).toBeLessThan(variant.endsWith('uint8') ? 0.28 : 0.52);
    expect(absolute, variant).toBeLessThan(0.2); // logits go to about 20
    expect(speeds.filter((speed) => speed.variant === variant && speed.medianMs > 0).length, variant).toBeGreaterThan(0);
  }
}, 240_000);

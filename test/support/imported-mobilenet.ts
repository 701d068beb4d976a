import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { type BackendId, createTensor, type Tensor } from '../../src/core/index.ts';
import { type ImportedModel, largestPart } from './imported.ts';
import { decodePrepared } from './prepared.ts';
import { sharedData } from './shared-data.ts';

// MobileNetV2 from its SavedModel against the logits that TensorFlow gave, a few photos in `npm test`, all in the full run.

const mean = [0.485, 0.456, 0.406];
const std = [0.229, 0.224, 0.225];

/** The pixels that Pillow resized and cropped, as the model takes them. */
export async function mobileNetInput(photo: string): Promise<Tensor<'float32'>> {
  const single = Math.fround;
  const pixels = await decodePrepared('224', photo, (value, channel) =>
    single(single(single(value / 255) - single(mean[channel]!)) / single(std[channel]!)),
  );
  return createTensor('float32', [1, 224, 224, 3], pixels);
}

/** The photos of the recorded answers, each with its logits. */
export function mobileNetLogits(): ReadonlyMap<string, Float32Array> {
  const [about, rows] = ['json', 'logits.f32'].map((end) => sharedData(`expected/savedmodel-mobilenetv2_dq.${end}`));
  if (about === undefined || rows === undefined) throw new Error('the shared data has no expected logits of MobileNetV2');
  const { images }: { images: string[] } = JSON.parse(readFileSync(about, 'utf8'));
  const logits = new Float32Array(new Uint8Array(readFileSync(rows)).buffer);
  return new Map(images.map((photo, row) => [photo, logits.subarray(row * 1000, (row + 1) * 1000)]));
}

/** Fails unless logits and probabilities are within 1e-5 of the largest. @returns the largest difference in such parts. */
export async function expectMobileNetV2(model: ImportedModel, photos: readonly string[], backends: readonly BackendId[]): Promise<number> {
  const expected = mobileNetLogits();
  let largest = 0;
  for (const photo of photos) {
    const input = await mobileNetInput(photo);
    const logits = expected.get(photo)!;
    for (const backend of backends) {
      const got = await model.run(backend, 'serving_default', { input });
      for (const [name, want] of [
        ['logits', logits],
        ['probabilities', softmax(logits)],
      ] as const) {
        const output = got[name];
        if (output?.dtype !== 'float32') throw new Error(`no float32 output ${name}`);
        const part = largestPart(output.data, want);
        largest = Math.max(largest, part);
        expect(part, `${backend} ${photo} ${name}`).toBeLessThanOrEqual(1e-5);
      }
    }
  }
  return largest;
}

function softmax(logits: Float32Array): number[] {
  const most = logits.reduce((a, b) => Math.max(a, b));
  const powers = Array.from(logits, (logit) => Math.exp(logit - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { BackendId, RgbImage } from '../../src/core/index.ts';
import { decodeImage } from '../../src/server/media/index.ts';
import { classifyOverHttp, type DifferenceTable, expectFrom, expectWithin, type FullAnswer, openFar } from './parity.ts';
import { type ExpectedAnswer, expectedMobileNetV2, type ParityModel, publishMobileNetV2, type SharedPhoto } from './parity-models.ts';

// MobileNetV2 on the shared photos, far, for `npm test` and, on slow backends, for the full run.

/** The library whose expected results a backend is held to. */
export const libraryOf = (backend: string) => (backend.startsWith('tfjs') ? 'tfjs' : 'onnx');

/** The pixels that Pillow resized and cropped. */
export async function readPrepared({ prepared }: SharedPhoto): Promise<RgbImage> {
  const { width, height, data } = await decodeImage(new Uint8Array(readFileSync(prepared)));
  return { width, height, data: new Uint8Array(data) };
}

/** Fails unless the answer has the expected best class and probabilities. @returns the largest difference. */
export function expectAnswer(answer: FullAnswer, want: ExpectedAnswer | undefined, model: ParityModel, photo: string): number {
  if (!want) throw new Error(`nothing is expected of ${photo}`);
  const { index, label } = want.top;
  expect(answer.top, photo).toMatchObject({ index, label });
  return expectWithin(answer.scores, want.probabilities, model, answer.variant, photo);
}

/** The shared photos on a real server with one backend, over HTTP as any client would. */
export function describeFarMobileNetV2(backend: BackendId, photos: readonly SharedPhoto[], table: DifferenceTable): void {
  test.skipIf(photos.length === 0)(
    `MobileNetV2 on ${backend}: ${photos.length} photos as expected, by the whole path and from the pixels Pillow prepared`,
    async () => {
      const model = await publishMobileNetV2();
      if (!model) throw new Error('the shared data is absent');
      const expected = expectedMobileNetV2(libraryOf(backend));
      await using far = await openFar(model.repository, backend);

      for (const photo of photos) {
        const whole = await classifyOverHttp(far, model, readFileSync(photo.photo));
        const exact = await classifyOverHttp(far, model, await readPrepared(photo));

        for (const answer of [whole, exact]) expectFrom(answer, model, 'server', backend);
        table.add(
          `MobileNetV2: ${backend} (server) to ${libraryOf(backend)} expected`,
          expectAnswer(exact, expected.get(photo.name), model, photo.name),
        );
        // The decoder gives the very pixels that Pillow gave, so the whole path adds nothing.
        expect(whole.scores, photo.name).toEqual(exact.scores);
      }
    },
    600_000,
  );
}

import { basename, dirname } from 'node:path';
import { expect, test } from 'vitest';
import { launchBrowser, openTestPage } from '../support/browser.ts';
import { largestPart } from '../support/imported.ts';
import { mobileNetInput } from '../support/imported-mobilenet.ts';
import { expectFrom, openLeg } from '../support/parity.ts';
import { expectedMobileNetV2, publishMobileNetV2Variants, sharedPhotos } from '../support/parity-models.ts';

// Weights of 8 bits with a scale for each channel, which the libraries have no form for: restored before they see them.

test('8-bit weights answer in Chromium as TensorFlow does, on both engines', async (context) => {
  const model = await publishMobileNetV2Variants(['uint8']);
  if (!model) return context.skip('the shared data is absent');
  const photos = sharedPhotos().filter(({ name }) => ['bee', 'goldfish', 'zebra'].includes(name));
  const expected = expectedMobileNetV2('tfjs');
  await using browser = await launchBrowser();
  await using opened = await openTestPage(browser, {
    mounts: { '/models/': model.repository, '/photos/': dirname(photos[0]!.photo) },
  });

  for (const backend of ['tfjs-wasm', 'onnx-wasm'] as const) {
    await using leg = await openLeg(opened.page, model, { backend });
    const answers = await leg.classify(photos.map(({ photo }) => `/photos/${basename(photo)}`));

    for (const [index, { name }] of photos.entries()) {
      const answer = answers[index]!;
      const { top, probabilities } = expected.get(name)!;
      expectFrom(answer, model, 'on-device', backend);
      expect([answer.variant, answer.top.index]).toEqual([`${backend.slice(0, 4)}-uint8`, top.index]);
      // From the very pixels that TensorFlow had.
      const got = await leg.predict({ input: await mobileNetInput(name) }, 'probabilities');
      expect(largestPart(got.data, probabilities.data as Float32Array), `${backend} ${name}`).toBeLessThan(2e-3);
    }
  }
});

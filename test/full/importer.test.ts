import { describe, expect, test } from 'vitest';
import { fuzz, smallModels } from '../support/bad-input.ts';
import { openImported } from '../support/imported.ts';
import { expectMobileNetV2, mobileNetLogits } from '../support/imported-mobilenet.ts';
import { sharedData } from '../support/shared-data.ts';

// What test/publish shows with few photos and little damage.

test('MobileNetV2 from its SavedModel: all photos on every backend', async (context) => {
  const folder = sharedData('savedmodel/mobilenetv2_dq/1');
  if (folder === undefined) return context.skip('the shared data is absent');
  await using model = await openImported([folder]);

  const largest = await expectMobileNetV2(model, [...mobileNetLogits().keys()], model.backends);

  console.log(`largest difference: ${largest.toExponential(1)} of the largest output`);
});

describe('damaged files are refused by a typed error, soon, with nothing written, or published', async () => {
  const models = await smallModels();
  const seeds = Array.from({ length: 150 }, (_, index) => 1000 + index);

  test.each(models)('$name', async (format) => {
    const codes = await fuzz(format, seeds);

    console.log(`${format.name}: ${JSON.stringify(codes)}`);
    expect(Object.keys(codes).length).toBeGreaterThan(0);
  });
});

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { launchBrowser, type TestBrowser } from '../support/browser.ts';
import { stepsWithLongTasks, watchLongTasks } from '../support/long-tasks.ts';
import { publishMobileNetV2 } from '../support/parity-models.ts';
import { sharedData } from '../support/shared-data.ts';

// A model of 14 MB on every backend. The GPU is software: it takes the cores from the page, too, but not its thread.

const isHere = sharedData('onnx') !== undefined;
let browser: TestBrowser;
beforeAll(async () => {
  browser = await launchBrowser();
});
afterAll(() => browser[Symbol.asyncDispose]());

describe.skipIf(!isHere)('while MobileNetV2 is downloaded, compiled and run', () => {
  test.each(['tfjs-wasm', 'onnx-wasm', 'tfjs-webgpu', 'onnx-webgpu'] as const)(
    'no task of the page takes more than 50 ms: %s',
    async (backend) => {
      const model = await publishMobileNetV2();
      if (!model) throw new Error('the shared data is absent');

      const long = await stepsWithLongTasks(() =>
        watchLongTasks(browser, { mounts: { '/models/': model.repository } }, 'mobilenetv2', backend),
      );

      expect(long).toEqual([]);
    },
  );
});

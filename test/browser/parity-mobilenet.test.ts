import { afterAll } from 'vitest';
import { DifferenceTable } from '../support/parity.ts';
import { describeNearMobileNetV2 } from '../support/parity-mobilenet-near.ts';
import { sharedPhotos } from '../support/parity-models.ts';

// SwiftShader takes seconds for one photo: on the GPU backends one photo here, all of them in test/full/parity.test.ts.

const table = new DifferenceTable('MobileNetV2 in Chromium');
afterAll(() => table.print());

const photos = sharedPhotos();
const one = photos.filter(({ name }) => name === 'cat');

describeNearMobileNetV2({
  near: { 'tfjs-wasm': photos, 'onnx-wasm': photos, 'tfjs-webgpu': one, 'onnx-webgpu': one },
  far: ['onnx-cpu', 'tfjs-wasm'],
  table,
});

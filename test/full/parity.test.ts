import { afterAll } from 'vitest';
import { openNodePlatform } from '../../src/engines/node/index.ts';
import { DifferenceTable } from '../support/parity.ts';
import { describeFarMobileNetV2 } from '../support/parity-mobilenet.ts';
import { describeNearMobileNetV2 } from '../support/parity-mobilenet-near.ts';
import { sharedPhotos } from '../support/parity-models.ts';

// What software GPUs take too long for in `npm test`: every photo on WebGPU, in Chromium and through Dawn on the server.

const table = new DifferenceTable('MobileNetV2 on WebGPU');
afterAll(() => table.print());

const photos = sharedPhotos();
const { gpu, gpuAbsence } = await openNodePlatform({ allowSoftwareAdapter: true });

describeNearMobileNetV2({ near: { 'tfjs-webgpu': photos, 'onnx-webgpu': photos }, far: ['onnx-cpu', 'tfjs-wasm'], table });

if (gpu) describeFarMobileNetV2('tfjs-webgpu', photos, table);
else console.warn(`skipping tfjs-webgpu on the server: ${gpuAbsence}`);

import { test } from 'vitest';
import { openEngine } from '../../src/engines/index.ts';
import { openNodePlatform } from '../../src/engines/node/index.ts';
import { describeEngineContract } from '../contract/engine-contract.ts';

const platform = await openNodePlatform({ allowSoftwareAdapter: true });

if (platform.gpu === undefined) {
  test.skip(`webgpu in Node: ${platform.gpuAbsence}`, () => undefined);
  console.warn(`skipping the webgpu engines in Node: ${platform.gpuAbsence}`);
} else {
  const isSoftware = (await platform.gpu.requestAdapter())?.info.isFallbackAdapter === true;
  // A software GPU takes up to a second for one picture of 32 by 32.
  const scale = { pictures: isSoftware ? 4 : 200, inFlight: isSoftware ? 3 : 8, runsMobileNet: !isSoftware };
  describeEngineContract('tfjs-webgpu', { library: 'tfjs', open: () => openEngine('tfjs-webgpu', platform), ...scale });
  describeEngineContract('onnx-webgpu', { library: 'onnx', open: () => openEngine('onnx-webgpu', platform), ...scale });
}

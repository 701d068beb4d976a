import { openEngine } from '../../src/engines/index.ts';
import { openNodePlatform } from '../../src/engines/node/index.ts';
import { describeEngineContract } from './engine-contract.ts';

const platform = await openNodePlatform({ gpu: false });

describeEngineContract('tfjs-wasm', {
  library: 'tfjs',
  open: () => openEngine('tfjs-wasm', platform),
  pictures: 200,
  inFlight: 8,
  runsMobileNet: true,
});
describeEngineContract('tfjs-cpu', {
  library: 'tfjs',
  open: () => openEngine('tfjs-cpu', platform),
  pictures: 8,
  inFlight: 8,
  runsMobileNet: true,
});
describeEngineContract('onnx-cpu', {
  library: 'onnx',
  open: () => openEngine('onnx-cpu', platform),
  pictures: 200,
  inFlight: 8,
  runsMobileNet: true,
});
describeEngineContract('onnx-wasm', {
  library: 'onnx',
  open: () => openEngine('onnx-wasm', platform),
  pictures: 200,
  inFlight: 8,
  runsMobileNet: true,
});

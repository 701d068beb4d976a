export { createDeviceWorker } from './device-worker.ts';
export type { OpenEngine, OpenEngineOptions } from './engine-pool.ts';
export { createProbe, type DeviceProbe } from './probe.ts';
export { nearfarVersion } from './self-test.ts';

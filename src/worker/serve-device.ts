import { transfer } from 'comlink';
import type { BackendId, DeviceWorkerApi, Engine } from '../core/index.ts';
import { openBrowserPlatform } from '../engines/browser/index.ts';
import { openEngine } from '../engines/index.ts';
import { answering } from './answering.ts';
import { systemClock } from './clock.ts';
import { createDeviceWorker, createProbe, type OpenEngineOptions } from './device/index.ts';
import { openChunkStore } from './store/index.ts';
import { telling } from './telling.ts';
import { buffersOf } from './transfer.ts';

/** The device worker on this browser, as comlink exposes it. */
export function serveDevice(): DeviceWorkerApi {
  const { gpu, nextTask } = openBrowserPlatform({ allowSoftwareAdapter: false });
  const device = createDeviceWorker({
    openStore: () => openChunkStore(),
    openEngine: openOnBrowser,
    probe: createProbe(gpu),
    fetch: globalThis.fetch.bind(globalThis),
    clock: systemClock,
    nextTask,
  });
  return {
    probe: answering(device.probe),
    plan: answering((callId, request, notify) => telling(notify, (tell) => device.plan(callId, request, tell))),
    open: answering((callId, request, notify) => telling(notify, (tell) => device.open(callId, request, tell))),
    predict: answering(async (handle, call) => {
      const answer = await device.predict(handle, call);
      return transfer(answer, buffersOf(answer.outputs));
    }),
    classify: answering(device.classify),
    cancel: answering(device.cancel),
    close: answering(device.close),
    cacheReport: answering(device.cacheReport),
    verifyCache: answering(device.verifyCache),
    clearCache: answering(device.clearCache),
    stats: answering(device.stats),
    loseDevice: answering(device.loseDevice),
    hang: answering(device.hang),
  };
}

function openOnBrowser(backend: BackendId, { allowSoftwareAdapter, signal }: OpenEngineOptions): Promise<Engine> {
  return openEngine(backend, openBrowserPlatform({ allowSoftwareAdapter }), { signal });
}

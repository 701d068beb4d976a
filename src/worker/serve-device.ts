import { transfer } from 'comlink';
import type { BackendId, DeviceWorkerApi, Engine, WorkerEvent } from '../core/index.ts';
import { openBrowserPlatform } from '../engines/browser/index.ts';
import { openEngine } from '../engines/index.ts';
import { answering } from './answering.ts';
import { systemClock } from './clock.ts';
import { createDeviceWorker, createProbe, type OpenEngineOptions } from './device/index.ts';
import { openChunkStore } from './store/index.ts';
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
    plan: answering(device.plan),
    open: answering(async (callId, request, notify) => {
      const { tell, whenTold } = outbox(notify);
      const opened = await device.open(callId, request, tell);
      await whenTold();
      return opened;
    }),
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

/**
 * Events cross by a port of their own and could arrive behind the answer they belong before. comlink's proxy of a
 * function returns a promise, whatever its type says.
 */
function outbox(notify: (event: WorkerEvent) => unknown): { tell: (event: WorkerEvent) => void; whenTold: () => Promise<unknown> } {
  let last: Promise<unknown> = Promise.resolve();
  return {
    tell(event) {
      // A listener that throws is the main thread's affair.
      last = Promise.resolve(notify(event)).catch(() => undefined);
    },
    whenTold: () => last,
  };
}

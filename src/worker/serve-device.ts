import { transfer } from 'comlink';
import { type BackendId, buffersOf, type DeviceWorkerApi, type Engine } from '../core/index.ts';
import { openBrowserPlatform } from '../engines/browser/index.ts';
import { openEngine, preloadEngine } from '../engines/index.ts';
import { answering } from './answering.ts';
import { systemClock } from './clock.ts';
import { createDeviceWorker, createProbe, type OpenEngineOptions } from './device/index.ts';
import { openChunkStore } from './store/index.ts';
import { openTabs } from './tabs/index.ts';
import { telling } from './telling.ts';

/** The device worker on this browser, as comlink exposes it. */
export function serveDevice(): DeviceWorkerApi {
  const platform = openBrowserPlatform({ allowSoftwareAdapter: false });
  const { gpu, nextTask } = platform;
  const browser = describeBrowser();
  const device = createDeviceWorker({
    openStore: () => openChunkStore(),
    tabs: openTabs(navigator.locks),
    openEngine: openOnBrowser,
    probe: createProbe(gpu),
    // What fails here fails again where the engine opens, and is told there.
    preload: (backend) => void preloadEngine(backend, platform).catch(() => undefined),
    browser: () => browser,
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
    predictMoved: answering(async (handle, call) => {
      const answer = await device.predictMoved(handle, call);
      return transfer(answer, buffersOf('error' in answer ? answer.inputs : answer.outputs));
    }),
    classify: answering(device.classify),
    runTask: answering(device.runTask),
    cancel: answering(device.cancel),
    close: answering(device.close),
    prefetch: answering((callId, request, notify) => telling(notify, (tell) => device.prefetch(callId, request, tell))),
    cacheReport: answering(device.cacheReport),
    verifyCache: answering(device.verifyCache),
    clearCache: answering(device.clearCache),
    pinVersion: answering(device.pinVersion),
    stats: answering(device.stats),
    loseDevice: answering(device.loseDevice),
    hang: answering(device.hang),
  };
}

/** As exact as the browser tells: the user agent alone has no minor version in Chromium. */
async function describeBrowser(): Promise<string> {
  const { userAgent, userAgentData }: WorkerNavigator & UserAgentHints = navigator;
  const exact = await userAgentData?.getHighEntropyValues(['fullVersionList', 'platformVersion']).catch(() => undefined);
  return `${userAgent} ${JSON.stringify(exact ?? {})}`;
}

/** Not in the DOM's types yet. */
interface UserAgentHints {
  readonly userAgentData?: { getHighEntropyValues(hints: readonly string[]): Promise<object> };
}

function openOnBrowser(backend: BackendId, { allowSoftwareAdapter, signal }: OpenEngineOptions): Promise<Engine> {
  return openEngine(backend, openBrowserPlatform({ allowSoftwareAdapter }), { signal });
}

import { type MediaWorkerApi, parseLabels, prepareImage, taskOf, toPrepared, type WorkerEvent } from '../../core/index.ts';
import { classifyOnServer, isReadyOnServer, loadBalance, loadTasks, predictOnServer } from '../../engines/remote/index.ts';
import { createCalls } from '../calls.ts';
import type { Clock } from '../clock.ts';
import {
  clientKey,
  createSlots,
  fetchBytes,
  type LoaderContext,
  loadFiles,
  type ResolvedVersion,
  resolveVersion,
} from '../loader/index.ts';
import { createMemoryStore, type OpenedStore } from '../store/index.ts';
import { openTabs } from '../tabs/index.ts';
import { decodeImage } from './decode.ts';

export interface MediaWorkerOptions {
  /** Where the device worker keeps its cache, for what tells this browser apart. */
  readonly openStore: () => Promise<OpenedStore>;
  readonly fetch: typeof fetch;
  readonly clock: Clock;
}

/** The media worker's side of the protocol: it decodes, preprocesses and asks servers; it never loads an engine. */
export function createMediaWorker({ openStore, fetch, clock }: MediaWorkerOptions): MediaWorkerApi {
  const calls = createCalls();
  const balancing = loadBalance(clock);
  let key: Promise<string> | undefined;
  // Read once: where the browser keeps nothing it would be another one each time, and so would the version.
  const ownKey = () => {
    key ??= openStore().then(({ store }) => clientKey(store).finally(() => store.close()));
    return key;
  };
  return {
    resolve: (callId, request, notify) =>
      calls.run(callId, async (signal) => {
        // Loading the labels has phases and progress, too, which are not those of the model.
        const tell = (event: WorkerEvent) => {
          if (event.type === 'retry' || event.type === 'integrity') notify(event);
        };
        const context = { ...networkOnly({ fetch, clock, signal }), clientKey: ownKey, notify: tell };
        const version = await resolveVersion(context, request);
        const labels = request.wantsLabels ? await loadLabels(context, version, request.repositories) : undefined;
        return { pin: version.pin, manifest: version.manifest, labels };
      }),
    prepareImage: (callId, source, input) =>
      calls.run(callId, async (signal) => {
        const startedAt = performance.now();
        const pixels = await decodeImage(source, (url) => fetchPhoto(url, networkOnly({ fetch, clock, signal })));
        signal.throwIfAborted();
        const image = prepareImage(pixels, input);
        return { image, preprocessMs: performance.now() - startedAt };
      }),
    preparePicture: (callId, source, version, task) =>
      calls.run(callId, async (signal) => {
        const startedAt = performance.now();
        const decoding = decodeImage(source, (url) => fetchPhoto(url, networkOnly({ fetch, clock, signal })));
        const [pixels, { preparePicture, pictureInputOf }] = await Promise.all([decoding, import('./prepare-for-task.ts')]);
        signal.throwIfAborted();
        const picture = preparePicture(pixels, pictureInputOf(version, task));
        return { picture, preprocessMs: performance.now() - startedAt };
      }),
    predictOnServer: (target, call) =>
      calls.run(call.callId, async (signal) => predictOnServer(target, call, { fetch, signal, balance: await balancing })),
    classifyOnServer: (target, call) =>
      calls.run(call.callId, async (signal) => {
        const startedAt = performance.now();
        const image = toPrepared(call.image, taskOf(target.manifest, 'image-classification').input);
        const preprocessMs = performance.now() - startedAt;
        const result = await classifyOnServer(target, { ...call, image }, { fetch, signal, balance: await balancing });
        const { timing } = result.answer;
        return { ...result, answer: { ...result.answer, timing: { ...timing, preprocessMs: timing.preprocessMs + preprocessMs } } };
      }),
    runTaskOnServer: (target, call) =>
      calls.run(call.callId, async (signal) => {
        const { runTaskOnServer } = await loadTasks();
        return runTaskOnServer(target, call, { fetch, signal, balance: await balancing });
      }),
    isReadyOnServer: (callId, target) =>
      calls.run(callId, async (signal) => isReadyOnServer(target, { fetch, signal, balance: await balancing })),
    cancel: (callId) => calls.cancel(callId),
  };
}

/** Keeps nothing: the cache belongs to the device worker, which may be busy or dead. */
function networkOnly({ fetch, clock, signal }: Pick<LoaderContext, 'fetch' | 'clock' | 'signal'>): LoaderContext {
  const store = createMemoryStore();
  return {
    store,
    clientKey: () => clientKey(store),
    tabs: openTabs(undefined),
    slots: createSlots(),
    fetch,
    clock,
    signal,
    notify: () => undefined,
  };
}

async function loadLabels(
  context: LoaderContext,
  version: ResolvedVersion,
  repositories: readonly string[],
): Promise<readonly string[] | undefined> {
  const path = version.manifest.tasks?.['image-classification']?.output.labels;
  if (path === undefined) return undefined;
  const files = await loadFiles(context, { version, files: [path], repositories, cacheBudgetBytes: Number.POSITIVE_INFINITY });
  return parseLabels(await files.readFile(path));
}

/** A photo is the application's own: the browser's HTTP cache and its rules apply. */
async function fetchPhoto(url: string, context: LoaderContext): Promise<Blob> {
  return new Blob([await fetchBytes(context, url, { cache: 'default' })]);
}

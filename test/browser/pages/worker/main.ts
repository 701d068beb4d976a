import { proxy, type Remote, transfer, wrap } from 'comlink';
import {
  type DeviceWorkerApi,
  digestOf,
  type ImageSource,
  isSerializedError,
  type Manifest,
  type MediaWorkerApi,
  type OpenRequest,
  type ServerTarget,
  taskOf,
  type WorkerEvent,
  type WorkerRole,
} from '../../../../src/core/index.ts';
import { openChunkStore, openIndexedDbStore } from '../../../../src/worker/store/index.ts';
import { openTabs } from '../../../../src/worker/tabs/index.ts';
import { storeContract } from '../../../support/store-contract.ts';

// What tests of the workers call by page.evaluate. The workers are the built ones, spoken to as the SDK does.

const create = (role: WorkerRole): Worker => {
  const worker = new Worker(new URL('../../../../dist/worker/main.js', import.meta.url), { type: 'module' });
  worker.postMessage({ nearfarRole: role });
  return worker;
};

let device: { worker: Worker; api: Remote<DeviceWorkerApi> } | undefined;
let media: { worker: Worker; api: Remote<MediaWorkerApi> } | undefined;
let events: WorkerEvent[] = [];
let lastCallId = 0;

function deviceApi(): Remote<DeviceWorkerApi> {
  if (!device) {
    const worker = create('device');
    device = { worker, api: wrap<DeviceWorkerApi>(worker) };
  }
  return device.api;
}

function mediaApi(): Remote<MediaWorkerApi> {
  if (!media) {
    const worker = create('media');
    media = { worker, api: wrap<MediaWorkerApi>(worker) };
  }
  return media.api;
}

/** page.evaluate loses what an error holds: a rejection comes back as a value. */
async function outcome<T>(work: Promise<T>): Promise<{ value?: T; error?: { code: string; message: string; details?: unknown } }> {
  try {
    return { value: await work };
  } catch (error) {
    return { error: isSerializedError(error) ? error : { code: 'not serialized', message: String(error) } };
  }
}

const keep = (event: WorkerEvent) => void events.push(event);

const page = {
  device: () => deviceApi(),

  async open(request: OpenRequest, cancelAt?: WorkerEvent['type']) {
    events = [];
    const callId = ++lastCallId;
    const api = deviceApi();
    const notify = proxy((event: WorkerEvent) => {
      events.push(event);
      if (event.type === cancelAt) void api.cancel(callId);
    });
    const opened = await outcome(api.open(callId, request, notify));
    return { ...opened, events: [...events] };
  },

  /** Everything a worker says until it is ended; the call that was under way never settles. */
  endDevice() {
    device?.worker.terminate();
    device = undefined;
  },

  events: () => events,

  plan: (request: OpenRequest) => outcome(deviceApi().plan(++lastCallId, request, proxy(keep))),
  probe: () => deviceApi().probe(),
  close: (handle: number) => outcome(deviceApi().close(handle)),
  stats: () => deviceApi().stats(),
  cacheReport: () => deviceApi().cacheReport(1e9),
  verifyCache: () => deviceApi().verifyCache(),
  clearCache: () => deviceApi().clearCache(),
  loseDevice: (handle: number) => outcome(deviceApi().loseDevice(handle)),

  async predict(handle: number, values: number[], shape: number[]) {
    const inputs = { image: { dtype: 'float32' as const, shape, data: Float32Array.from(values) } };
    const result = await outcome(deviceApi().predict(handle, { callId: ++lastCallId, signature: 'serving_default', inputs }));
    const probabilities = result.value?.outputs['probabilities'];
    return { error: result.error, values: probabilities?.dtype === 'float32' ? [...probabilities.data] : undefined };
  },

  /** The whole near path for one photo: decode, crop and classify. */
  async classify(handle: number, url: string, manifest: Manifest) {
    const { image } = await mediaApi().prepareImage(++lastCallId, { kind: 'url', url }, taskOf(manifest, 'image-classification').input);
    return outcome(deviceApi().classify(handle, { callId: ++lastCallId, image, topK: 3 }));
  },

  /** SHA-256 of a photo's cropped pixels, by each way a photo can come; the pixels themselves where they are asked for. */
  async prepare(url: string, kind: ImageSource['kind'], manifest: Manifest, wantsBytes = false) {
    const blob = await (await fetch(url)).blob();
    const source = await sourceOf(kind, url, blob);
    const moved = source.kind === 'bitmap' ? [source.bitmap] : source.kind === 'frame' ? [source.frame] : [];
    const result = await outcome(
      mediaApi().prepareImage(++lastCallId, transfer(source, moved), taskOf(manifest, 'image-classification').input),
    );
    const { image } = result.value ?? {};
    if (!image) return { error: result.error };
    return { digest: await digestOf(image.data), width: image.width, height: image.height, bytes: wantsBytes ? [...image.data] : [] };
  },

  async prepareUrl(url: string, manifest: Manifest) {
    const { error } = await outcome(
      mediaApi().prepareImage(++lastCallId, { kind: 'url', url }, taskOf(manifest, 'image-classification').input),
    );
    return { error };
  },

  resolve: (request: Omit<OpenRequest, 'backends' | 'allowSoftwareAdapter' | 'cacheBudgetBytes'>) =>
    outcome(mediaApi().resolve(++lastCallId, request, proxy(keep))),
  isReadyOnServer: (target: ServerTarget) => outcome(mediaApi().isReadyOnServer(++lastCallId, target)),

  storeCases: Object.keys(storeContract),
  async runStoreCase(name: string) {
    const store = await openIndexedDbStore(`contract-${name}`);
    try {
      await storeContract[name]?.(store);
    } finally {
      store.close();
    }
  },

  /** Changes one byte of a stored chunk behind nearfar's back. */
  async flip(digest: string) {
    const store = await openIndexedDbStore('nearfar');
    const bytes = await store.readChunk(digest);
    if (!bytes) throw new Error(`${digest} is not stored`);
    bytes[bytes.length >> 1]! ^= 1;
    await store.writeChunk(digest, bytes);
    store.close();
  },

  /** Takes a turn while another holds it and says nothing, then once more after that one said something. */
  async waitForSilentTab(waitMs: number) {
    const silent = openTabs(navigator.locks);
    const waiting = openTabs(navigator.locks, waitMs);
    const never = new AbortController().signal;
    const heard: unknown[] = [];
    using held = await silent.takeTurn('silent', never, () => undefined);
    const turn = waiting.takeTurn('silent', never, (news) => heard.push(news));
    held.tell([['chunk', 7]]);
    const alone = await turn;
    alone.tell([]);
    alone[Symbol.dispose]();
    const stop = new AbortController();
    const stopped = waiting.takeTurn('silent', stop.signal, () => undefined);
    stop.abort(new Error('enough'));
    return { heard, stopped: await stopped.catch((error: Error) => error.message) };
  },

  async storeKind(name: string) {
    const { store, refusal } = await openChunkStore(name);
    return { kind: store.kind, refusal: refusal && { code: refusal.code, message: refusal.message } };
  },

  /** Opens a database as a later nearfar would, which ends the connections of this one. */
  async upgradeUnderStore(name: string) {
    const store = await openIndexedDbStore(name);
    await store.writeChunk('c', Uint8Array.of(1));
    const later = await new Promise<IDBDatabase>((resolve, reject) => {
      const request = indexedDB.open(name, 99);
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
      request.onblocked = () => reject(new Error('blocked'));
    });
    later.close();
    return store.readChunk('c').then(
      () => 'read',
      (error: unknown) => (error instanceof Error && 'code' in error ? String(error.code) : String(error)),
    );
  },
};

async function sourceOf(kind: ImageSource['kind'], url: string, blob: Blob): Promise<ImageSource> {
  const asStored: ImageBitmapOptions = { colorSpaceConversion: 'none', premultiplyAlpha: 'none' };
  switch (kind) {
    case 'url':
      return { kind, url: new URL(url, location.href).href };
    case 'blob':
      return { kind, blob };
    case 'bitmap':
      return { kind, bitmap: await createImageBitmap(blob, asStored) };
    case 'frame':
      return { kind, frame: new VideoFrame(await createImageBitmap(blob, asStored), { timestamp: 0 }) };
    case 'pixels': {
      const bitmap = await createImageBitmap(blob, asStored);
      const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
      if (!context) throw new Error('no canvas');
      context.drawImage(bitmap, 0, 0);
      const { width, height, data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
      return { kind, pixels: { width, height, channels: 4, data } };
    }
  }
}

declare global {
  interface Window {
    workers: typeof page;
  }
}

window.workers = page;
document.documentElement.dataset['ready'] = 'true';

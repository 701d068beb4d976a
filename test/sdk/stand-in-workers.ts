import { expose } from 'comlink';
import {
  type DeviceWorkerApi,
  isRoleMessage,
  type Manifest,
  type MediaWorkerApi,
  NearfarError,
  type OpenedModel,
  type Pin,
  serializeError,
  type WorkerEvent,
  type WorkerRole,
} from '../../src/core/index.ts';
import type { WorkerEndpoint } from '../../src/sdk/worker-endpoint.ts';

export const pin: Pin = { version: '1', digest: `sha256:${'a'.repeat(64)}` };
export const otherPin: Pin = { version: '2', digest: `sha256:${'b'.repeat(64)}` };

const variant = (id: string, format: 'tfjs-graph' | 'onnx'): Manifest['variants'][number] => ({
  id,
  format,
  precision: 'float32',
  entry: id,
  files: [id],
  requires: [],
  tolerance: { absolute: 1e-4, relative: 1e-3 },
});

/** A tiny classifier with one variant for each engine. */
export const manifest: Manifest = {
  schemaVersion: 1,
  name: 'tiny',
  version: pin.version,
  signatures: {
    serving_default: {
      method: 'predict',
      inputs: { x: { dtype: 'float32', shape: [-1, 2] } },
      outputs: { y: { dtype: 'float32', shape: [-1, 2] } },
    },
  },
  tasks: {
    'image-classification': {
      signature: 'serving_default',
      input: {
        name: 'x',
        resize: { shorterSide: 1, filter: 'bilinear', antialias: true },
        crop: [1, 1],
        layout: 'NHWC',
        scale: 1,
        mean: [0, 0, 0],
        std: [1, 1, 1],
      },
      output: { name: 'y', activation: 'none' },
    },
  },
  variants: [variant('tfjs', 'tfjs-graph'), variant('onnx', 'onnx')],
  files: {
    tfjs: { bytes: 100, digest: pin.digest, chunks: [[100, pin.digest]] },
    onnx: { bytes: 200, digest: pin.digest, chunks: [[200, pin.digest]] },
  },
  golden: [],
};

export const timing = { queueMs: 1, preprocessMs: 2, inferMs: 3, postprocessMs: 4 };

export const opened: OpenedModel = {
  handle: 7,
  pin,
  manifest,
  labels: ['cat', 'dog'],
  backend: 'tfjs-webgpu',
  variant: 'tfjs',
  device: { kind: 'gpu' },
  cache: 'hit',
  skipped: [],
};

export const image = { width: 1, height: 1, data: new Uint8Array([1, 2, 3]) };

/** Inputs of the tiny classifier. */
export const inputs = { x: { dtype: 'float32', shape: [1, 2], data: new Float32Array([1, 2]) } } as const;

/** y tells which leg answered: [1, …] near, [2, …] far. */
const answer = (leg: 1 | 2) => ({ outputs: { y: { dtype: 'float32' as const, shape: [1, 2], data: new Float32Array([leg, 0]) } }, timing });
const classes = (leg: 1 | 2) => ({ predictions: [{ label: leg === 1 ? 'near' : 'far', index: 0, score: 1 }], timing });

type Overrides<Api> = { [K in keyof Api]?: Api[K] };

export interface StandIns {
  readonly createWorker: (role: WorkerRole) => WorkerEndpoint;
  /** Roles of the workers started so far. */
  readonly started: WorkerRole[];
  /** Roles of the workers ended so far. */
  readonly ended: WorkerRole[];
  /** Names of the calls that arrived, as in `device.open`. */
  readonly calls: string[];
  /** What the device worker answers from now on. */
  readonly device: Overrides<DeviceWorkerApi>;
  readonly media: Overrides<MediaWorkerApi>;
  /** The event sink of the last `open`. */
  notify(event: WorkerEvent): void;
  /** The live workers of a role answer nothing any more, as if their thread were blocked. */
  freeze(role: WorkerRole): void;
  /** The live workers of a role report an error, as one whose script does not load. */
  crash(role: WorkerRole, message: string): void;
}

/** In place of the two workers: their APIs in this thread, reached over real message ports and comlink. */
export function createStandIns(): StandIns {
  const calls: string[] = [];
  const started: WorkerRole[] = [];
  const ended: WorkerRole[] = [];
  const live: { role: WorkerRole; freeze: () => void; crash: (message: string) => void }[] = [];
  const device: Overrides<DeviceWorkerApi> = {};
  const media: Overrides<MediaWorkerApi> = {};
  let sink: (event: WorkerEvent) => void = () => {};
  const deviceDefaults: DeviceWorkerApi = {
    probe: async () => ({ adapter: { kind: 'gpu', maxBufferBytes: 2 ** 30, features: [] }, probeMs: 1 }),
    plan: async () => ({ pin, manifest, cachedBytes: 0, totalBytes: 100 }),
    open: async () => opened,
    predict: async () => answer(1),
    predictMoved: async () => answer(1),
    classify: async () => classes(1),
    runTask: async () => ({ output: [1], timing }),
    cancel: () => {},
    close: async () => {},
    cacheReport: async (budgetBytes) => ({ versions: [], bytes: 0, budgetBytes, isKept: true, isPersisted: false }),
    verifyCache: async () => ({ chunks: 0, corrupt: [] }),
    clearCache: async () => 0,
    prefetch: async () => ({ version: '1', digest: '', backend: 'tfjs-wasm', variant: '', bytes: 0, cache: 'hit' }),
    pinVersion: async () => {},
    stats: async () => ({ models: 0, tensors: 0, bytes: 0 }),
    loseDevice: async () => {},
    hang: () => {},
  };
  const mediaDefaults: MediaWorkerApi = {
    resolve: async () => ({ pin, manifest, labels: ['cat', 'dog'] }),
    prepareImage: async () => ({ image, preprocessMs: 5 }),
    preparePicture: async () => ({ picture: { image, picture: image }, preprocessMs: 5 }),
    predictOnServer: async () => ({ answer: answer(2), pin, backend: 'onnx-cpu', variant: 'onnx' }),
    classifyOnServer: async () => ({ answer: classes(2), pin, backend: 'onnx-cpu', variant: 'onnx' }),
    runTaskOnServer: async () => ({ answer: { output: [2], timing }, pin, backend: 'onnx-cpu', variant: 'onnx' }),
    isReadyOnServer: async () => true,
    cancel: () => {},
  };
  const apiOf = (role: WorkerRole) =>
    role === 'device'
      ? recorded('device', deviceDefaults, device, calls, (notify) => {
          sink = notify;
        })
      : recorded('media', mediaDefaults, media, calls);
  return {
    started,
    ended,
    calls,
    device,
    media,
    notify: (event) => sink(event),
    freeze: (role) => {
      for (const worker of live) if (worker.role === role) worker.freeze();
    },
    crash: (role, message) => {
      for (const worker of live) if (worker.role === role) worker.crash(message);
    },
    createWorker(role) {
      const { port1, port2 } = new MessageChannel();
      const errors = new EventTarget();
      let isFrozen = false;
      started.push(role);
      const worker = {
        role,
        freeze: () => {
          isFrozen = true;
        },
        crash: (message: string) => errors.dispatchEvent(Object.assign(new Event('error'), { message })),
      };
      live.push(worker);
      const onRole = (event: MessageEvent) => {
        if (!isRoleMessage(event.data)) return;
        port2.removeEventListener('message', onRole);
        expose(apiOf(event.data.nearfarRole), port2);
      };
      port2.addEventListener('message', onRole);
      port2.start();
      port1.start();
      return {
        postMessage: (message, transfer) => {
          if (!isFrozen) port1.postMessage(message, transfer ?? []);
        },
        addEventListener: (type, listener) => (type === 'error' ? errors : port1).addEventListener(type, listener),
        removeEventListener: (type, listener) => (type === 'error' ? errors : port1).removeEventListener(type, listener),
        terminate: () => {
          ended.push(role);
          live.splice(live.indexOf(worker), 1);
          port1.close();
        },
      };
    },
  };
}

/** The API with what the test put in place of its functions, throwing as the workers do. */
function recorded<Api extends object>(
  role: WorkerRole,
  defaults: Api,
  overrides: Overrides<Api>,
  calls: string[],
  onNotify?: (notify: (event: WorkerEvent) => void) => void,
): Record<string, (...args: unknown[]) => Promise<unknown>> {
  return Object.fromEntries(
    Object.keys(defaults).map((name) => [
      name,
      async (...args: unknown[]) => {
        calls.push(`${role}.${name}`);
        const last = args.at(-1);
        if (name === 'open' && typeof last === 'function') onNotify?.((event) => last(event));
        try {
          const method: unknown = Reflect.get(overrides, name) ?? Reflect.get(defaults, name);
          return typeof method === 'function' ? await Reflect.apply(method, undefined, args) : undefined;
        } catch (error) {
          throw serializeError(error);
        }
      },
    ]),
  );
}

/** A promise that the test settles. */
export function createGate<T>(): { readonly promise: Promise<T>; open(value: T): void; fail(error: NearfarError): void } {
  let open: (value: T) => void = () => {};
  let fail: (error: NearfarError) => void = () => {};
  const promise = new Promise<T>((resolve, reject) => {
    open = resolve;
    fail = reject;
  });
  return { promise, open, fail };
}

export function throwing(code: NearfarError['code'], message = 'broken by the test'): () => Promise<never> {
  return async () => {
    throw new NearfarError(code, message);
  };
}

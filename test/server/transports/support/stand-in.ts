import { createHash } from 'node:crypto';
import {
  type AnyTensor,
  createTensor,
  decodeExample,
  isTensorOf,
  type Manifest,
  NearfarError,
  parseLabels,
  parseManifest,
  type RunRequest,
  type TensorMap,
} from '../../../../src/core/index.ts';
import { Admission, type AdmissionOptions } from '../../../../src/server/admission.ts';
import { BufferPool } from '../../../../src/server/buffer-pool.ts';
import { createMemoryHistory } from '../../../../src/server/history/index.ts';
import { runJsonJobHere } from '../../../../src/server/json/index.ts';
import { answerPictureHere, prepareImageHere } from '../../../../src/server/media/index.ts';
import type { LoadRequest } from '../../../../src/server/model-control.ts';
import type { PublishedFile } from '../../../../src/server/repository/published-files.ts';
import { joinObservers, type RequestRecord } from '../../../../src/server/request-record.ts';
import type { ServableHandle, ServableSpec, ServableStore, VersionStatus } from '../../../../src/server/servables/servable.ts';
import type { ModelAdmin } from '../../../../src/server/served-models.ts';
import { InferenceStatistics } from '../../../../src/server/statistics.ts';
import type { AdminContext } from '../../../../src/server/transports/admin.ts';

type Run = (request: RunRequest, options: { signal?: AbortSignal | undefined }) => Promise<TensorMap> | TensorMap;

export interface StandInVersion {
  readonly name: string;
  readonly version: string;
  readonly manifest: Manifest;
  readonly digest: string;
  readonly labels?: readonly string[];
  readonly run: Run;
}

const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

export function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

export const labelsFile = new TextEncoder().encode('black\nwhite\n');

/** x / 2 + 2 under every dtype of the protocols that the arithmetic makes sense for; strings come back as they are. */
function halfPlusTwo({ inputs }: RunRequest): TensorMap {
  const compute = (tensor: AnyTensor): AnyTensor => {
    if (isTensorOf(tensor, 'float32'))
      return createTensor(
        'float32',
        tensor.shape,
        tensor.data.map((value) => value / 2 + 2),
      );
    return tensor;
  };
  return Object.fromEntries(Object.entries(inputs).map(([name, tensor]) => [name === 'x' ? 'y' : name, compute(tensor)]));
}

/** Scores of two classes: the mean of the image and what it lacks to 1. */
function brightness({ inputs }: RunRequest): TensorMap {
  const image = inputs['image'];
  if (!image || !isTensorOf(image, 'float32')) throw new NearfarError('invalid-argument', 'no image');
  const mean = image.data.reduce((sum, value) => sum + value, 0) / image.data.length;
  return { scores: createTensor('float32', [1, 2], new Float32Array([1 - mean, mean])) };
}

const variant = {
  id: 'v',
  format: 'tfjs-graph',
  precision: 'float32',
  entry: 'model',
  files: ['model'],
  requires: [],
  tolerance: { absolute: 0, relative: 0 },
};

function version(name: string, number: string, fields: object, run: Run, labels?: readonly string[]): StandInVersion {
  const bytes = encode({
    schemaVersion: 1,
    name,
    version: number,
    variants: [variant],
    files: {
      model: { bytes: 0, digest: sha256(new Uint8Array()), chunks: [] },
      'labels.txt': { bytes: labelsFile.length, digest: sha256(labelsFile), chunks: [[labelsFile.length, sha256(labelsFile)]] },
    },
    golden: [],
    ...fields,
  });
  return { name, version: number, manifest: parseManifest(bytes), digest: sha256(bytes), run, ...(labels && { labels }) };
}

/** Of each example its feature `x`, halved plus two: as its value, or as the scores of two classes. */
function scoreExamples({ inputs, signature }: RunRequest): TensorMap {
  const examples = inputs['inputs'];
  if (!examples || !isTensorOf(examples, 'string')) throw new NearfarError('invalid-argument', 'no examples');
  const scores = examples.data.map((bytes) => Number(decodeExample(bytes).get('x')?.values[0] ?? 0) / 2 + 2);
  const count = scores.length;
  if (signature === 'regress') return { outputs: createTensor('float32', [count, 1], Float32Array.from(scores)) };
  if (signature === 'wrong') return { scores: createTensor('float32', [count], Float32Array.from(scores)) };
  const labels = scores.flatMap((score) => ['high', 'low'].map((word) => new TextEncoder().encode(`${word} ${score}`)));
  const both = { scores: createTensor('float32', [count, 2], Float32Array.from(scores.flatMap((score) => [score, -score]))) };
  return signature === 'labelled' ? { ...both, classes: createTensor('string', [count, 2], labels) } : both;
}

/** What an engine does that has the joined signatures, see `withJoinedSignatures`. */
function scoreJoined(request: RunRequest): TensorMap {
  if (!request.signature.includes('+')) return scoreExamples(request);
  const named = (request.outputs ?? []).map((name): [string, [string, string]] => [name, JSON.parse(name)]);
  return Object.fromEntries(named.map(([name, [signature, output]]) => [name, scoreExamples({ ...request, signature })[output]!]));
}

const float = { dtype: 'float32', shape: [-1] };
const signatures = {
  serving_default: { method: 'predict', inputs: { x: float }, outputs: { y: float } },
  many: {
    method: 'predict',
    inputs: { x: float, s_bytes: { dtype: 'string', shape: [-1] }, n: { dtype: 'int64', shape: [-1] } },
    outputs: { y: float, s_bytes: { dtype: 'string', shape: [-1] }, n: { dtype: 'int64', shape: [-1] } },
  },
};

export const half123 = version('half_plus_two', '123', { signatures }, halfPlusTwo, ['stable']);
export const half124 = version('half_plus_two', '124', { signatures, description: 'a later one' }, halfPlusTwo, ['canary']);
/** Gives back what it gets. */
export const half16 = version(
  'half_precision',
  '1',
  {
    signatures: {
      serving_default: { method: 'predict', inputs: { x: { ...float, dtype: 'float16' } }, outputs: { y: { ...float, dtype: 'float16' } } },
    },
  },
  halfPlusTwo,
);
export const bright = version(
  'bright',
  '1',
  {
    signatures: {
      serving_default: {
        method: 'predict',
        inputs: { image: { dtype: 'float32', shape: [-1, 2, 2, 3] } },
        outputs: { scores: { dtype: 'float32', shape: [-1, 2] } },
      },
    },
    tasks: {
      'image-classification': {
        signature: 'serving_default',
        input: {
          name: 'image',
          resize: { shorterSide: 2, filter: 'bilinear', antialias: true },
          crop: [2, 2],
          layout: 'NHWC',
          scale: 1 / 255,
          mean: [0, 0, 0],
          std: [1, 1, 1],
        },
        output: { name: 'scores', activation: 'none', labels: 'labels.txt' },
      },
    },
  },
  brightness,
);

const examplesInput = { inputs: { dtype: 'string', shape: [-1] } };
const scoresOutput = { scores: { dtype: 'float32', shape: [-1, 2] } };

/** Signatures that take serialized tf.Examples, some that do not fit Classify and Regress among them. */
export const scorer = version(
  'scorer',
  '7',
  {
    signatures: {
      serving_default: { method: 'classify', inputs: examplesInput, outputs: scoresOutput },
      labelled: {
        method: 'predict',
        inputs: examplesInput,
        outputs: { ...scoresOutput, classes: { dtype: 'string', shape: [-1, 2] } },
      },
      regress: { method: 'regress', inputs: examplesInput, outputs: { outputs: float } },
      wrong: { method: 'classify', inputs: examplesInput, outputs: scoresOutput },
      numbers: { method: 'regress', inputs: { inputs: float }, outputs: { outputs: float } },
      unfit: { method: 'predict', inputs: { x: float }, outputs: { y: float } },
      elsewhere: { method: 'regress', inputs: examplesInput, outputs: { outputs: float } },
    },
    // Every other signature reads the graph's `inputs`.
    variants: [{ ...variant, bindings: { elsewhere: { inputs: { inputs: { tensor: 'other_inputs' } } } } }],
  },
  scoreJoined,
);

/** Runs until it is aborted or told to go on. */
export function createSlowVersion(): StandInVersion & {
  readonly started: Promise<void>;
  readonly aborted: Promise<unknown>;
  finish(): void;
} {
  const started = withResolvers<void>();
  const aborted = withResolvers<unknown>();
  const finished = withResolvers<void>();
  const run: Run = async (request, { signal }) => {
    started.resolve();
    signal?.addEventListener('abort', () => aborted.resolve(signal.reason));
    await finished.promise;
    return halfPlusTwo(request);
  };
  return { ...version('slow', '1', { signatures }, run), started: started.promise, aborted: aborted.promise, finish: finished.resolve };
}

function withResolvers<T>() {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

export interface StandInStore extends ServableStore {
  /** Handles that are lent and not given back. */
  readonly lent: number;
  isServing: boolean;
}

/** A ServableStore over plain functions, with TensorFlow Serving's texts. */
export function createStandInStore(versions: readonly StandInVersion[]): StandInStore {
  let lent = 0;
  let isServing = true;
  const listeners = new Set<() => void>();
  const of = (name: string) =>
    versions.filter((candidate) => candidate.name === name).sort((a, b) => Number(b.version) - Number(a.version));
  const find = ({ name, version, label }: ServableSpec): StandInVersion => {
    if (label !== undefined && !of(name).some(({ labels }) => labels?.includes(label))) {
      throw new NearfarError('invalid-argument', `Unrecognized servable version label: ${label}`);
    }
    const found = of(name).find(
      (candidate) => (version === undefined || candidate.version === version) && (label === undefined || candidate.labels?.includes(label)),
    );
    const request = version === undefined ? `Latest(${name})` : `Specific(${name}, ${version})`;
    if (!found) throw new NearfarError('not-found', `Servable not found for request: ${request}`);
    return found;
  };
  return {
    get lent() {
      return lent;
    },
    lend: (spec): ServableHandle => {
      const { run, ...found } = find(spec);
      if (spec.digest !== undefined && spec.digest !== found.digest) {
        throw new NearfarError('version-mismatch', `wanted ${spec.digest}, have ${found.digest}`, { details: { got: found.digest } });
      }
      lent++;
      return {
        ...found,
        labels: found.labels ?? [],
        backend: 'tfjs-cpu',
        variant: 'v',
        platform: 'tensorflow',
        parallelism: 1,
        run: async (request, options) => ({
          outputs: select(await run(request, options), request.outputs),
          timing: { queueMs: 1.5, inferMs: 2.25 },
        }),
        [Symbol.dispose]: () => {
          lent--;
        },
      };
    },
    status: ({ name, version }): VersionStatus[] => {
      const found = of(name).filter((candidate) => version === undefined || candidate.version === version);
      if (found.length === 0) throw new NearfarError('not-found', `Could not find any versions of model ${name}`);
      return found.map((candidate) => ({
        version: candidate.version,
        digest: candidate.digest,
        state: 'AVAILABLE',
        errorCode: 0,
        errorMessage: '',
      }));
    },
    labels: (name) => Object.fromEntries(of(name).flatMap(({ version, labels = [] }) => labels.map((label) => [label, version]))),
    traffic: () => undefined,
    names: () => [...new Set(versions.map(({ name }) => name))],
    get isServing() {
      return isServing;
    },
    set isServing(value) {
      isServing = value;
      for (const listener of listeners) listener();
    },
    isReady: (name) => isServing && (name === undefined || of(name).length > 0),
    watch: (listener) => {
      listeners.add(listener);
      return { [Symbol.dispose]: () => listeners.delete(listener) };
    },
  };
}

function select(outputs: TensorMap, names: readonly string[] | undefined): TensorMap {
  return names ? Object.fromEntries(Object.entries(outputs).filter(([name]) => names.includes(name))) : outputs;
}

/** Files of the repository, by path. */
export function createStandInFiles(files: Readonly<Record<string, { readonly bytes: Uint8Array; readonly path?: string }>>) {
  return {
    find: async (path: string): Promise<PublishedFile | undefined> => {
      const file = Object.hasOwn(files, path) ? files[path] : undefined;
      if (!file) return undefined;
      const body = file.path === undefined ? { bytes: file.bytes } : { path: file.path };
      return { body, bytes: file.bytes.length, digest: sha256(file.bytes), isImmutable: !path.endsWith('versions.json') };
    },
  };
}

const cannotChange = () => Promise.reject(new NearfarError('failed-precondition', 'a stand-in cannot be changed'));

const standInAdmin: ModelAdmin = {
  models: [],
  source: () => undefined,
  failure: () => undefined,
  replaceAll: cannotChange,
  put: cannotChange,
  remove: cannotChange,
  setLabel: cannotChange,
  rollBack: cannotChange,
  setTraffic: cannotChange,
  setLoaded: cannotChange,
  refresh: cannotChange,
  storeStatus: () => undefined,
  storeStatuses: () => [],
  published: () => [],
  version: () => ({}),
  namesAt: () => [],
  isRecorded: () => false,
  labels: () => ({}),
  load: cannotChange,
  unload: cannotChange,
};

const standInRollouts: AdminContext['rollouts'] = {
  start: cannotChange,
  dryRun: () => {
    throw new NearfarError('failed-precondition', 'a stand-in cannot be changed');
  },
  abort: cannotChange,
  status: () => ({ rollout: undefined }),
  shadow: () => undefined,
  setShadow: cannotChange,
};

/** Everything is admitted. */
export const noLimits: AdmissionOptions = {
  maxInFlight: 512,
  maxInFlightPerClient: Number.POSITIVE_INFINITY,
  rateLimitPerClient: Number.POSITIVE_INFINITY,
  metrics: { setInFlight: () => {}, recordRefusal: () => {} },
};

/** What a transport needs beside the servables; the records of requests are kept. */
export function createStandInContext(servables: ServableStore) {
  const statistics = new InferenceStatistics(() => 1_700_000_000_000);
  const changes: object[] = [];
  const refusals: object[] = [];
  const records: RequestRecord[] = [];
  const errors: string[] = [];
  return {
    servables,
    admin: {
      models: standInAdmin,
      onDemand: {
        load: async (name: string, request: LoadRequest) => void changes.push({ load: name, request }),
        unload: async (name: string) => void changes.push({ unload: name }),
      },
      history: createMemoryHistory({ server: 'test' }),
      refusals: { record: (refusal: object) => void refusals.push(refusal) },
      rollouts: standInRollouts,
      access: 'loopback' as const,
      metricValues: async () => new Map<string, number>(),
    },
    admission: new Admission(noLimits),
    records,
    errors,
    changes,
    refusals,
    statistics,
    observer: joinObservers([statistics, { recordRequest: (record) => void records.push(record) }]),
    log: { error: (fields: object, message: string) => void errors.push(`${message} ${JSON.stringify(fields)}`) },
    prepareImage: prepareImageHere,
    answerPicture: answerPictureHere,
    runJsonJob: runJsonJobHere,
    buffers: new BufferPool(),
    classLabels: async (handle: ServableHandle) => (handle.name === 'bright' ? parseLabels(labelsFile) : undefined),
    serverVersion: '9.9.9',
  };
}

import { type BackendId, type LockFile, type Mode, modes, NearfarError, nearBackends, type ServerPolicy } from '../core/index.ts';

/** An application's pins as `nearfar lock` writes them; `import lock from './nearfar.lock.json'` has this type. */
export interface Lock {
  readonly lockfileVersion: number;
  readonly models: Readonly<Record<string, { readonly version: string; readonly digest: string }>>;
}

export interface ClientOptions {
  /** URL or URLs of model repositories, tried in order; relative ones start at the page. */
  readonly models: string | readonly string[];
  /** URL or URLs of nearfar servers. Without one, models run on the device only. */
  readonly server?: string | readonly string[] | undefined;
  /**
   * Which of several servers is asked first: of two taken by chance the one with fewer calls of this client under way (`least-in-flight`),
   * each in turn (`round-robin`), or as they are listed (`in-order`). One that kept failing is left out for a while. @default 'least-in-flight'
   */
  readonly serverPolicy?: ServerPolicy | undefined;
  /**
   * Asks the other leg, too, where the first one has not answered after so long, in milliseconds; the first answer is taken and the other
   * call is stopped. Never in the modes `only-…`. @default never
   */
  readonly hedgeAfterMs?: number | undefined;
  /**
   * `any`: models are downloaded over any connection. By default the modes `prefer-…` leave the answers to the server, where there is one,
   * while the user saves data, the connection is metered or slow, or the battery is low. @default 'unmetered'
   */
  readonly downloadOn?: 'unmetered' | 'any' | undefined;
  /**
   * Pins the models that it names: any other version or digest of them is refused with `version-mismatch`. A model that it
   * does not name is opened by label, as without a lock.
   */
  readonly lock?: Lock | undefined;
  /**
   * Public keys as PEM (EC on P-256, P-384 or P-521): a version that none of them has signed is refused with `signature-invalid`, on both
   * legs. Without a key signatures are not looked at.
   */
  readonly trust?: readonly string[] | undefined;
  /** Makes a worker from `nearfar/worker`, for bundlers that lose the workers of libraries. Called once for each of the two. */
  readonly worker?: (() => Worker) | undefined;
  /** Largest total size of cached models, in bytes. @default 536_870_912 (512 MiB) */
  readonly cacheBudgetBytes?: number | undefined;
  /**
   * Largest total size of the models that are loaded at once, in bytes of their files. Above it models that no call uses are unloaded,
   * the one used longest ago first, and loaded again from the cache when they are called. @default 1_073_741_824 (1 GiB)
   */
  readonly memoryBudgetBytes?: number | undefined;
  /** Take GPU adapters that are implemented in software, too. @default false */
  readonly allowSoftwareAdapter?: boolean | undefined;
  /** Backends of the device, in this order. @default ['tfjs-webgpu', 'onnx-webgpu', 'tfjs-wasm', 'onnx-wasm'] */
  readonly backends?: readonly BackendId[] | undefined;
  /** A worker that owes an answer and gives no sign of life for this long is terminated, in milliseconds. @default 10_000 */
  readonly hangTimeoutMs?: number | undefined;
  /** The same while a model is being opened: compiling may block a worker for long. @default 60_000 */
  readonly openHangTimeoutMs?: number | undefined;
  /** How long a server may take for one answer where the call names no deadline, in milliseconds. @default 30_000 */
  readonly serverTimeoutMs?: number | undefined;
}

/** Complete and checked; everything inside takes this form. */
export interface ResolvedOptions extends Pick<ClientOptions, 'serverPolicy' | 'hedgeAfterMs' | 'downloadOn'> {
  readonly repositories: readonly string[];
  readonly servers: readonly string[];
  readonly lock: LockFile | undefined;
  readonly trust: readonly string[];
  readonly createWorker: (() => Worker) | undefined;
  readonly cacheBudgetBytes: number;
  readonly memoryBudgetBytes: number;
  readonly allowSoftwareAdapter: boolean;
  readonly backends: readonly BackendId[];
  readonly hangTimeoutMs: number;
  readonly openHangTimeoutMs: number;
  readonly serverTimeoutMs: number;
}

const defaults = {
  cacheBudgetBytes: 512 * 2 ** 20,
  memoryBudgetBytes: 2 ** 30,
  allowSoftwareAdapter: false,
  backends: nearBackends,
  hangTimeoutMs: 10_000,
  openHangTimeoutMs: 60_000,
  serverTimeoutMs: 30_000,
};

/**
 * Checks the options of a client and fills in every default.
 * @param baseUrl What relative URLs start at: the page's `document.baseURI`.
 * @throws {NearfarError} `invalid-argument` that names the option; `unsupported` for a later lock file.
 */
export function resolveOptions(options: ClientOptions, baseUrl: string | undefined): ResolvedOptions {
  const repositories = absoluteUrls('models', options.models, baseUrl);
  if (repositories.length === 0) fail('models', 'the URL of a model repository', options.models);
  const trust = options.trust ?? [];
  if (!trust.every((key) => /^\s*-----BEGIN PUBLIC KEY-----/.test(key))) fail('trust', 'public keys as PEM', trust);
  if (options.worker !== undefined && typeof options.worker !== 'function')
    fail('worker', 'a function that makes a Worker', options.worker);
  return {
    repositories,
    servers: absoluteUrls('server', options.server ?? [], baseUrl),
    serverPolicy: oneOf('serverPolicy', ['least-in-flight', 'round-robin', 'in-order'], options.serverPolicy),
    hedgeAfterMs: options.hedgeAfterMs === undefined ? undefined : atLeast('hedgeAfterMs', options.hedgeAfterMs, 0),
    downloadOn: oneOf('downloadOn', ['unmetered', 'any'], options.downloadOn),
    lock: options.lock === undefined ? undefined : checkLock(options.lock),
    trust,
    createWorker: options.worker,
    cacheBudgetBytes: atLeast('cacheBudgetBytes', options.cacheBudgetBytes ?? defaults.cacheBudgetBytes, 0),
    memoryBudgetBytes: atLeast('memoryBudgetBytes', options.memoryBudgetBytes ?? defaults.memoryBudgetBytes, 0),
    allowSoftwareAdapter: options.allowSoftwareAdapter ?? defaults.allowSoftwareAdapter,
    backends: checkBackends(options.backends ?? defaults.backends),
    hangTimeoutMs: atLeast('hangTimeoutMs', options.hangTimeoutMs ?? defaults.hangTimeoutMs, 1),
    openHangTimeoutMs: atLeast('openHangTimeoutMs', options.openHangTimeoutMs ?? defaults.openHangTimeoutMs, 1),
    serverTimeoutMs: atLeast('serverTimeoutMs', options.serverTimeoutMs ?? defaults.serverTimeoutMs, 1),
  };
}

/** @throws {NearfarError} `invalid-argument` */
export function checkMode(mode: Mode): Mode {
  return oneOf('mode', modes, mode);
}

function oneOf<Choice extends string | undefined>(name: string, choices: readonly Choice[], value: Choice): Choice {
  return value === undefined || choices.includes(value) ? value : fail(name, `one of ${choices.join(', ')}`, value);
}

/** @throws {NearfarError} `invalid-argument` */
export function checkBackends(backends: readonly BackendId[]): readonly BackendId[] {
  // Every BackendId; as a pattern, it takes the fewest bytes.
  const isBackend = (value: unknown) => typeof value === 'string' && /^((tfjs|onnx)-(webgpu|wasm|cpu)|onnx-(cuda|tensorrt))$/.test(value);
  if (Array.isArray(backends) && backends.length > 0 && backends.every(isBackend)) return [...backends];
  return fail('backends', `a list of backends such as ${nearBackends.join(', ')}`, backends);
}

/** @throws {NearfarError} `invalid-argument` */
export function atLeast(name: string, value: number, minimum: number): number {
  return typeof value === 'number' && value >= minimum ? value : fail(name, `a number of at least ${minimum}`, value);
}

/** @throws {NearfarError} `invalid-argument` */
export function countOf(name: string, value: number): number {
  return Math.floor(atLeast(name, value, 1));
}

function absoluteUrls(name: string, urls: string | readonly string[], baseUrl: string | undefined): readonly string[] {
  if (typeof urls !== 'string' && !Array.isArray(urls)) fail(name, 'a URL or a list of URLs', urls);
  return (typeof urls === 'string' ? [urls] : urls).map((url) => {
    const absolute = parseUrl(url, baseUrl);
    if (!absolute || !/^https?:$/.test(absolute.protocol)) return fail(name, 'an http or https URL', url);
    // One form for both `/models` and `/models/`: paths are appended with a slash.
    return absolute.href.replace(/\/+$/, '');
  });
}

function parseUrl(url: string, baseUrl: string | undefined): URL | undefined {
  try {
    return new URL(url, baseUrl);
  } catch {
    return undefined;
  }
}

/** By hand: the schemas of core would triple the weight of the page's entry. The worker parses what it fetches. */
function checkLock(lock: Lock): LockFile {
  if (typeof lock?.lockfileVersion !== 'number') fail('lock', 'the content of nearfar.lock.json', lock);
  if (lock.lockfileVersion > 1) {
    throw new NearfarError('unsupported', `the lock file has lockfileVersion ${lock.lockfileVersion}; this nearfar reads 1, update it`, {
      details: { got: lock.lockfileVersion, want: 1 },
    });
  }
  const models: LockFile['models'] = {};
  for (const [name, pin] of Object.entries(lock.models ?? {})) {
    if (!/^[1-9]\d{0,18}$/.test(pin?.version)) fail(`lock.models.${name}.version`, 'a version as a decimal string', pin?.version);
    if (!/^sha256:[0-9a-f]{64}$/.test(pin.digest)) fail(`lock.models.${name}.digest`, 'sha256: and 64 hex digits', pin.digest);
    models[name] = { version: pin.version, digest: pin.digest };
  }
  return { lockfileVersion: 1, models };
}

function fail(option: string, want: string, got: unknown): never {
  throw new NearfarError('invalid-argument', `${option}: expected ${want}, got ${describe(got)}`, { details: { option, want } });
}

function describe(value: unknown): string {
  return typeof value === 'string' ? `"${value}"` : Array.isArray(value) ? `[${value}]` : String(value);
}

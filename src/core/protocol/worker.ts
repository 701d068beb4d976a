import type { BackendId, EngineDevice } from '../engine/index.ts';
import type { NearfarErrorCode, SerializedError } from '../errors.ts';
import type { ImageInput, LockFile, Manifest, Pin, VersionChoice } from '../manifest/index.ts';
import type { DeviceProfile, Reason, SkippedBackend } from '../placement.ts';
import type { Pixels, RgbImage } from '../preprocess/index.ts';
import type {
  Classification,
  DetectionOptions,
  OpenedTasks,
  PictureTask,
  PreparedPicture,
  TaskManifest,
  TopKOptions,
} from '../tasks/index.ts';
import type { TensorMap } from '../tensor/index.ts';

// What the main thread and its two workers say to each other (over comlink). Calls that can be aborted carry a `callId`
// chosen by the main thread (1 and up); `cancel(callId)` ends them and they reject with code `cancelled`. Workers throw
// the plain object that `serializeError` makes, which comlink passes on as it is; the main thread rebuilds the class.

/** What one worker is; the main thread starts two of the same file. */
export type WorkerRole = 'device' | 'media';

/**
 * The first message to a worker, sent before any comlink message: the worker exposes the API of that role at once, in
 * the same turn, or the calls behind it are lost. A message, as the application's own worker factory takes no name.
 */
export interface RoleMessage {
  readonly nearfarRole: WorkerRole;
}

export function isRoleMessage(value: unknown): value is RoleMessage {
  if (typeof value !== 'object' || value === null || !('nearfarRole' in value)) return false;
  return value.nearfarRole === 'device' || value.nearfarRole === 'media';
}

/** Where versions come from and which one is meant. */
export interface VersionRequest {
  readonly name: string;
  /** Absolute base URLs of model repositories, tried in order. */
  readonly repositories: readonly string[];
  readonly choice: VersionChoice;
  readonly lock?: LockFile | undefined;
  /** Public keys in PEM, one of which must have signed the manifest; not looked at when empty or absent. */
  readonly trust?: readonly string[] | undefined;
}

/** What surrounds an opening. */
export interface OpenConditions {
  /** Whether a server can answer in place of the device. */
  readonly hasServer?: boolean | undefined;
  /** Why a download must wait while a server can answer. */
  readonly deferral?: Reason | undefined;
  /** When a page of this origin last ended on purpose, in milliseconds since the epoch; NaN where none did. */
  readonly leftAt?: number | undefined;
}

export interface OpenRequest extends VersionRequest, OpenConditions {
  /** Backends to try, in this order; those the version has no variant for are skipped. */
  readonly backends: readonly BackendId[];
  readonly allowSoftwareAdapter: boolean;
  readonly cacheBudgetBytes: number;
  /** Bytes of all models that may be loaded at once; those that no call uses are unloaded above it. No limit when absent. */
  readonly memoryBudgetBytes?: number | undefined;
  /** With `plan`: an `open` of this version follows. */
  readonly isOpening?: boolean | undefined;
}

export type Phase = 'download' | 'verify' | 'compile' | 'warm-up' | 'ready';

/** One try that failed, with another one behind it. */
export interface Retry {
  /** What is asked next in a repository; of a server, the one that failed. */
  readonly url: string;
  /** Counts from 1. */
  readonly attempt: number;
  readonly code: NearfarErrorCode;
  readonly message: string;
}

/** Where the bytes of an opened version came from. */
export type CacheOutcome = 'hit' | 'partial' | 'miss' | 'memory';

/** What happens while a version is opened or used; each becomes an event of the client and of the model. */
export type WorkerEvent =
  | {
      readonly type: 'phase';
      readonly phase: Phase;
      readonly backend?: BackendId;
      /** With `warm-up`: whether the golden examples passed on an earlier visit on this adapter, browser and nearfar, and are not run again. */
      readonly isSelfTestKnown?: boolean;
    }
  | { readonly type: 'downloadprogress'; readonly loadedBytes: number; readonly totalBytes: number }
  | ({ readonly type: 'retry' } & Retry)
  | {
      readonly type: 'integrity';
      readonly file: string;
      readonly chunk: number;
      readonly source: 'cache' | 'network';
      readonly action: 'refetched' | 'refused';
      readonly message: string;
    }
  | { readonly type: 'fallback'; readonly from: string; readonly to?: string; readonly code: NearfarErrorCode; readonly message: string }
  | {
      readonly type: 'quota';
      readonly neededBytes: number;
      readonly availableBytes: number;
      readonly action: 'memory' | 'refused';
      /** Why nothing can be kept, where the reason is another than the sizes. */
      readonly message?: string | undefined;
    }
  | {
      readonly type: 'eviction';
      /** `cache`: its files were deleted; `memory`: it was unloaded, and is loaded again from the cache when it is called. */
      readonly from: 'cache' | 'memory';
      readonly name: string;
      readonly version: string;
      readonly bytes: number;
      readonly reason: string;
    }
  | { readonly type: 'device-lost'; readonly backend: BackendId; readonly message: string };

export interface OpenedModel {
  /** Names the loaded model in later calls to the same worker. */
  readonly handle: number;
  readonly pin: Pin;
  readonly manifest: Manifest;
  readonly labels?: readonly string[] | undefined;
  readonly backend: BackendId;
  readonly variant: string;
  readonly device: EngineDevice;
  readonly cache: CacheOutcome;
  /** Each backend that was tried first and why it was not taken. */
  readonly skipped: readonly SkippedBackend[];
}

export interface PredictCall {
  readonly callId: number;
  readonly signature: string;
  readonly inputs: TensorMap;
  readonly outputs?: readonly string[] | undefined;
}

export interface ClassifyCall<Image = RgbImage | Pixels> {
  readonly callId: number;
  /** Cropped pixels, as `prepareImage` of the media worker returned them, or decoded ones, which the worker that answers prepares. */
  readonly image: Image;
  readonly topK: number;
}

export interface TaskCall {
  readonly callId: number;
  readonly task: keyof OpenedTasks;
  /** As the task takes it, a picture as `preparePicture` of the media worker returned it; what does not fit is refused where the task is opened. */
  readonly input: unknown;
  readonly options: TopKOptions & DetectionOptions;
}

export interface TaskAnswer {
  readonly output: ReturnType<OpenedTasks[keyof OpenedTasks]['decode']>[number] | readonly Classification[];
  readonly timing: LegTiming;
}

/** Time spent inside the worker or on the server, in milliseconds. */
export interface LegTiming {
  readonly queueMs: number;
  readonly preprocessMs: number;
  /** Of the whole run, where several calls shared it. */
  readonly inferMs: number;
  readonly postprocessMs: number;
  /** How many calls shared the run; absent where it had none but this. */
  readonly batchSize?: number | undefined;
}

export interface PredictAnswer {
  readonly outputs: TensorMap;
  readonly timing: LegTiming;
}

/** Why a call failed, with the inputs that were moved to the worker. */
export interface HandedBack {
  readonly error: SerializedError;
  readonly inputs: TensorMap;
}

export interface ClassifyAnswer {
  readonly predictions: readonly Classification[];
  readonly timing: LegTiming;
}

/** An answer of the server with what it says about itself. */
export interface ServerAnswer<Answer> {
  readonly answer: Answer;
  readonly pin: Pin;
  /** The server's backend, as its `nearfar-backend` header says. */
  readonly backend: string;
  readonly variant: string;
  /** Servers that were asked before this one and did not answer; absent where the first answered. */
  readonly retries?: readonly Retry[] | undefined;
}

/** One cached version, complete or not. */
export interface CachedVersion {
  readonly name: string;
  readonly version: string;
  readonly digest: string;
  readonly bytes: number;
  readonly totalBytes: number;
  readonly isComplete: boolean;
  /** Milliseconds since the epoch. */
  readonly lastUsed: number;
  /** Kept when room is needed: the application's lock names it, or the application pinned it. */
  readonly isPinned: boolean;
  /** Whether a tab of this origin has it open or loads it: it is kept, too. */
  readonly isInUse: boolean;
}

export interface CacheReport {
  readonly versions: readonly CachedVersion[];
  readonly bytes: number;
  readonly budgetBytes: number;
  /** Whether the browser lets the models outlive this worker. */
  readonly isKept: boolean;
  /** Whether the browser promised to remove nothing of this origin on its own. */
  readonly isPersisted: boolean;
  /** What the browser says it would store of this origin at most, and what it stores, models or not; absent where it does not say. */
  readonly quotaBytes?: number | undefined;
  readonly usageBytes?: number | undefined;
}

/** A version that was downloaded and verified for later. */
export interface PrefetchedVersion {
  readonly version: string;
  readonly digest: string;
  /** What would open it. */
  readonly backend: BackendId;
  readonly variant: string;
  /** Bytes of its files that this device needs. */
  readonly bytes: number;
  /** How much of them was here before. */
  readonly cache: CacheOutcome;
}

export interface CacheVerification {
  readonly chunks: number;
  readonly corrupt: readonly { readonly digest: string }[];
}

type Notify = (event: WorkerEvent) => void;

/** The device worker: owns the cache and the engines, and may be terminated at any time. */
export interface DeviceWorkerApi {
  /** Decides in < 150 ms whether this device can run models; fetches no model byte. */
  probe(): Promise<DeviceProfile>;
  /**
   * The pin and the manifest of a request, with how many of the bytes a client would need are already here. Tells what
   * went wrong on the way: `retry`, `integrity`, and `fallback` to the last known versions.json.
   */
  plan(
    callId: number,
    request: OpenRequest,
    notify: Notify,
  ): Promise<{ pin: Pin; manifest: Manifest; cachedBytes: number; totalBytes: number }>;
  /** Download, verify, compile, golden examples, warm-up; the first backend that passes is taken. */
  open(callId: number, request: OpenRequest, notify: Notify): Promise<OpenedModel>;
  predict(handle: number, call: PredictCall): Promise<PredictAnswer>;
  /** The same for inputs that were moved here: a call that fails gives them back. */
  predictMoved(handle: number, call: PredictCall): Promise<PredictAnswer | HandedBack>;
  classify(handle: number, call: ClassifyCall): Promise<ClassifyAnswer>;
  runTask(handle: number, call: TaskCall): Promise<TaskAnswer>;
  /** Ends a call; an unknown id is ignored, so `cancel(0)` is also the watchdog's ping. */
  cancel(callId: number): void;
  close(handle: number): Promise<void>;
  /** Downloads and verifies what this device needs of a version, into the cache and nowhere else. */
  prefetch(callId: number, request: OpenRequest, notify: Notify): Promise<PrefetchedVersion>;
  cacheReport(budgetBytes: number): Promise<CacheReport>;
  verifyCache(): Promise<CacheVerification>;
  /** Removes a version, a model or everything; returns the bytes given back. */
  clearCache(name?: string, version?: string): Promise<number>;
  pinVersion(name: string, version: string, isPinned: boolean): Promise<void>;
  /** Live models, tensors and bytes, to show that they return to where they began. */
  stats(): Promise<{ models: number; tensors: number; bytes: number }>;
  /** Destroys the GPU device under a model, as a driver reset would; for demos and tests of failover. */
  loseDevice(handle: number): Promise<void>;
  /** Blocks the worker's thread; for demos and tests of the watchdog. */
  hang(durationMs: number): void;
}

/**
 * Which of several servers is asked first: of two taken by chance the one with fewer calls of this client under way; each in turn; or as
 * they are listed, the others only where it fails.
 */
export type ServerPolicy = 'least-in-flight' | 'round-robin' | 'in-order';

/** What a server leg needs to know about the version it must answer from. */
export interface ServerTarget {
  /** Absolute base URLs of servers. */
  readonly servers: readonly string[];
  /** @default 'least-in-flight' */
  readonly policy?: ServerPolicy | undefined;
  readonly name: string;
  readonly pin: Pin;
  readonly manifest: Manifest;
}

/** Anything a photo can be once it has left the DOM: encoded bytes, decoded pixels or a transferable bitmap. */
export type ImageSource =
  | { readonly kind: 'blob'; readonly blob: Blob }
  | { readonly kind: 'url'; readonly url: string }
  | { readonly kind: 'pixels'; readonly pixels: Pixels }
  | { readonly kind: 'bitmap'; readonly bitmap: ImageBitmap }
  | { readonly kind: 'frame'; readonly frame: VideoFrame };

/** The media worker: decodes, preprocesses and speaks to the server; holds no engine, so it never hangs with one. */
export interface MediaWorkerApi {
  /**
   * The pin and the manifest, with the class names where they are wanted, by the network alone (the device worker may be
   * busy or dead). Tells of `retry` and `integrity`.
   */
  resolve(
    callId: number,
    request: VersionRequest & { readonly wantsLabels?: boolean | undefined },
    notify: Notify,
  ): Promise<{ pin: Pin; manifest: Manifest; labels?: readonly string[] | undefined }>;
  prepareImage(callId: number, source: ImageSource, input: ImageInput): Promise<{ image: RgbImage; preprocessMs: number }>;
  /** A picture as a task of the version takes it, other than image classification. */
  preparePicture(
    callId: number,
    source: ImageSource,
    version: TaskManifest,
    task: PictureTask,
  ): Promise<{ picture: PreparedPicture; preprocessMs: number }>;
  predictOnServer(
    target: ServerTarget,
    call: PredictCall & { readonly deadlineMs?: number | undefined },
  ): Promise<ServerAnswer<PredictAnswer>>;
  classifyOnServer(
    target: ServerTarget,
    call: ClassifyCall & { readonly deadlineMs?: number | undefined },
  ): Promise<ServerAnswer<ClassifyAnswer>>;
  runTaskOnServer(target: ServerTarget, call: TaskCall & { readonly deadlineMs?: number | undefined }): Promise<ServerAnswer<TaskAnswer>>;
  /** Whether a server has exactly this version ready. */
  isReadyOnServer(callId: number, target: ServerTarget): Promise<boolean>;
  /** Ends a call; an unknown id is ignored, so `cancel(0)` is also the watchdog's ping. */
  cancel(callId: number): void;
}

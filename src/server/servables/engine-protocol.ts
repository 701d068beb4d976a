import type { BackendId, EngineDevice, Manifest, RunRequest, SerializedError, SkippedBackend, TensorMap } from '../../core/index.ts';
import type { GpuLook } from '../../engines/node/index.ts';
import type { WarmupCall, WarmupStats } from './warm-up.ts';

// What the server's main thread and an engine worker say to each other.

/** What a worker is started with. */
export interface EngineWorkerData {
  readonly threads: number;
  readonly allowSoftwareAdapter: boolean;
  /** Whether to look for a GPU. */
  readonly gpu: boolean;
  /** What was found, where somebody looked already. */
  readonly knownGpu?: GpuLook | undefined;
}

export interface LoadCall {
  /** Names the loaded version in later calls; chosen by the main thread. */
  readonly id: number;
  readonly manifest: Manifest;
  /** The folder that the manifest's paths start from. */
  readonly directory: string;
  /** To try in this order; those the version has no variant for are passed over. */
  readonly backends: readonly BackendId[];
  /** Tried before the other variants, in this order. */
  readonly variants?: readonly string[] | undefined;
  /** Recorded requests to run before it is ready. */
  readonly warmup?: WarmupCall | undefined;
}

export interface SkippedEngine extends SkippedBackend {
  /** The npm package that is not installed, where that is why. */
  readonly missingPackage?: string | undefined;
}

export interface LoadAnswer {
  readonly backend: BackendId;
  readonly variant: string;
  readonly device: EngineDevice;
  /** Backends tried first, and why they were not taken. */
  readonly skipped: readonly SkippedEngine[];
  readonly warmup: WarmupStats | undefined;
}

export interface RunCall {
  readonly id: number;
  readonly request: RunRequest;
  /** Whether the memory of the inputs is wanted back with the answer. */
  readonly returnsInputs?: boolean;
}

export interface RunAnswer {
  readonly outputs: TensorMap;
  /** When the run began, in milliseconds since the epoch, by the clock that both threads share. */
  readonly startedAt: number;
  readonly inferMs: number;
  /** The memory of the inputs, where it was wanted back. */
  readonly returned: readonly ArrayBuffer[];
}

/** The calls a worker answers. */
export interface EngineCalls {
  load: { readonly request: LoadCall; readonly answer: LoadAnswer };
  run: { readonly request: RunCall; readonly answer: RunAnswer };
  unload: { readonly request: { readonly id: number }; readonly answer: null };
}

export type EngineCall = {
  [M in keyof EngineCalls]: { readonly method: M; readonly request: EngineCalls[M]['request'] };
}[keyof EngineCalls];
export type EngineAnswer = EngineCalls[keyof EngineCalls]['answer'];

export type ToWorker =
  | { readonly type: 'call'; readonly callId: number; readonly call: EngineCall }
  | { readonly type: 'cancel'; readonly callId: number }
  /** Begin nothing more, let what runs end, close the engines and end the thread. */
  | { readonly type: 'close' };

export type FromWorker =
  | { readonly type: 'answer'; readonly callId: number; readonly answer: EngineAnswer }
  | { readonly type: 'failure'; readonly callId: number; readonly error: SerializedError }
  /** An engine lost its device; what was loaded on it is gone. */
  | { readonly type: 'lost'; readonly ids: readonly number[]; readonly backend: BackendId; readonly reason: string };

/** Milliseconds since the epoch with a fraction, equal in all threads. */
export function sharedNow(): number {
  return performance.timeOrigin + performance.now();
}

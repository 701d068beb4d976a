import type { Classification, Detection, Leg, Manifest, Mode, RgbImage, Segmentation, Signature, TensorMap } from '../core/index.ts';
import type { NearfarEventTarget } from './events.ts';
import type { Photo } from './image-source.ts';
import type { RunReport } from './run-report.ts';
import type { TensorInput } from './tensor-input.ts';

export interface CallOptions {
  /** Time for the whole call, both legs included, in milliseconds; `deadline-exceeded` when it is over. */
  readonly deadlineMs?: number | undefined;
  /** Overrides the client's own. */
  readonly hedgeAfterMs?: number | undefined;
  /** Stops the call on both legs; it rejects with `signal.reason`. */
  readonly signal?: AbortSignal | undefined;
}

export interface ClassifyOptions extends CallOptions {
  /** How many classes to return, best first. @default 5 */
  readonly topK?: number | undefined;
}

export interface ClassifyPhotoOptions extends ClassifyOptions {
  /** Gives an ImageBitmap, a VideoFrame or ImageData away instead of copying it: it is closed, or its data empty, from the call on. @default false */
  readonly transfer?: boolean | undefined;
}

export interface TaskOptions extends ClassifyOptions {
  /** Of object detection: scores at or below are left out. @default what the version says */
  readonly threshold?: number | undefined;
  /** Of object detection: how many at most, the highest scores first. @default what the version says */
  readonly maxDetections?: number | undefined;
}

export interface PredictOptions extends CallOptions {
  /** @default 'serving_default', or the only signature there is */
  readonly signature?: string | undefined;
  /** Names of the wanted outputs. @default all */
  readonly outputs?: readonly string[] | undefined;
  /**
   * Gives the memory of the inputs away instead of copying it: each typed array is empty from the call on, with everything else in its
   * ArrayBuffer (`detached`). Strings and shared memory are copied all the same.
   * @default false
   */
  readonly transfer?: boolean | undefined;
}

/** Where frames come from: what a video shows, what a camera's track brings, or frames that the caller makes. */
export type FrameSource = HTMLVideoElement | MediaStreamTrack | MediaStream | ReadableStream<VideoFrame>;

export interface ClassifyStreamOptions extends ClassifyOptions {
  /** Frames to classify a second at most; those that come sooner are dropped. @default as many as the model manages */
  readonly maxFps?: number | undefined;
}

/** The classes of one frame of a stream. */
export interface ClassifiedFrame {
  readonly predictions: readonly Classification[];
  readonly run: RunReport;
  /** When the frame was in its source's own time, in milliseconds, and how many before it were dropped since the last result. */
  readonly frame: { readonly mediaTimeMs: number; readonly dropped: number };
}

/** What `run` takes and gives, by the name of the task in the manifest. */
export interface ModelTasks {
  /** As `classify`. */
  readonly 'image-classification': { readonly input: Photo; readonly output: readonly Classification[] };
  /** What is in a picture and where. */
  readonly 'object-detection': { readonly input: Photo; readonly output: readonly Detection[] };
  /** A class for each pixel of the picture. */
  readonly 'image-segmentation': { readonly input: Photo; readonly output: Segmentation };
  /** Another picture: RGB, row by row from the top left. */
  readonly 'image-to-image': { readonly input: Photo; readonly output: RgbImage };
  readonly 'text-classification': { readonly input: TextInput; readonly output: readonly Classification[] };
  /** Of texts or of pictures, as the version says: a string is a text or the URL of a picture. */
  readonly embeddings: { readonly input: TextInput | Photo; readonly output: Float32Array };
  readonly 'audio-classification': { readonly input: SoundInput; readonly output: readonly Classification[] };
  readonly 'tabular-classification': { readonly input: RowInput; readonly output: readonly Classification[] };
  readonly 'tabular-regression': { readonly input: RowInput; readonly output: readonly number[] };
}

/** A text, or two that belong together. */
export type TextInput = string | { readonly text: string; readonly pair: string };

/** As an AudioBuffer has it: samples per second, and the samples of each channel. */
export interface SoundInput {
  readonly sampleRate: number;
  readonly channels: readonly (Float32Array | Float64Array)[];
}

/** Cells by the names of their columns. */
export type RowInput = Readonly<Record<string, string | number | boolean | null>>;

/** What is known about an open model. */
export interface ModelInfo {
  readonly name: string;
  readonly version: string;
  readonly digest: string;
  readonly mode: Mode;
  /** The classes by index, once a leg has told them. */
  readonly labels: readonly string[] | undefined;
  readonly signatures: Readonly<Record<string, Signature>>;
  readonly manifest: Manifest;
  /** The leg that the next call is given to first. */
  readonly leg: Leg;
}

/** Breaks things on purpose, to show and to test what happens then. */
export interface ModelFaults {
  /** Destroys the GPU device under the model, as a driver reset would. */
  loseDevice(): Promise<void>;
  /** Blocks the thread of the device worker for so long, in milliseconds. */
  hangDevice(durationMs: number): void;
  /** From now on acts as if no server could be reached, or no longer. */
  cutServer(isCut: boolean): void;
}

/** One version of one model, ready to answer near or far. */
export interface Model extends NearfarEventTarget, AsyncDisposable {
  readonly info: ModelInfo;
  readonly faults: ModelFaults;
  /**
   * The most likely classes of a photo.
   * @param photo Any DOM image, canvas, video or VideoFrame, ImageData, ImageBitmap, Blob or URL; it stays usable, unless `transfer` gives it away.
   * @returns `predictions`, best first, scores as the version's task gives them (probabilities after its activation), and `run`.
   * @throws {NearfarError} `unsupported` (no image-classification task), `invalid-argument` (photo or option),
   * `deadline-exceeded`, `failed-precondition` (closed), or why no leg answered; rejects with `signal.reason` when aborted.
   */
  classify(photo: Photo, options?: ClassifyPhotoOptions): Promise<{ predictions: readonly Classification[]; run: RunReport }>;
  /**
   * Classifies the newest frame each time the loop asks for a result, for `for await`; frames that come meanwhile are dropped, none
   * waits. Ends with the source, and when the loop is left; the source goes on, but for a stream of frames, which is cancelled.
   * @param source A stream's frames are closed here.
   * @throws {NearfarError} As `classify`, `deadlineMs` being that of each frame; rejects with `signal.reason` when aborted.
   */
  classifyStream(source: FrameSource, options?: ClassifyStreamOptions): AsyncGenerator<ClassifiedFrame, void, undefined>;
  /**
   * Runs a signature on tensors.
   * @param inputs By the names of the signature: dtype and shape as it declares, -1 standing for any size; data row by
   * row in the typed array of the dtype (int64: BigInt64Array; string: string[] or Uint8Array[]). They are copied, unless `transfer` gives them away.
   * @returns `outputs` by the names of the signature, and `run`.
   * @throws {NearfarError} `invalid-argument`, `dtype-mismatch`, `shape-mismatch`, `deadline-exceeded`,
   * `failed-precondition` (closed), or why no leg answered; rejects with `signal.reason` when aborted.
   */
  predict(inputs: Readonly<Record<string, TensorInput>>, options?: PredictOptions): Promise<{ outputs: TensorMap; run: RunReport }>;
  /**
   * Answers a task of the version.
   * @param options.topK How many classes, for tasks that give some.
   * @param options.threshold, options.maxDetections Which of the objects that were found.
   * @returns `output` of the task, and `run`.
   * @throws {NearfarError} As `classify`; `unsupported` when the version does not have the task.
   */
  run<Task extends keyof ModelTasks>(
    task: Task,
    input: ModelTasks[Task]['input'],
    options?: TaskOptions,
  ): Promise<{ output: ModelTasks[Task]['output']; run: RunReport }>;
  /** Finishes the calls under way, then gives everything back; later calls fail with `failed-precondition`. Twice is harmless. */
  close(): Promise<void>;
}

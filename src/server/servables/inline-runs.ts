import type { LoadedVariant, Manifest, NearfarError, RunRequest, TensorMap } from '../../core/index.ts';
import { openEngine } from '../../engines/index.ts';
import { openNodePlatform } from '../../engines/node/index.ts';
import type { Logger } from '../log.ts';
import type { VersionOnDisk } from '../repository/index.ts';
import type { HostedVersion } from './engine-host.ts';
import { loadVersion } from './load-version.ts';
import type { Ran } from './servable.ts';
import type { LoadVersion } from './servable-version.ts';

export interface InlineRunsOptions {
  /** Runs that take less in the engine's thread, in milliseconds, are done on the event loop; 0 for none. */
  readonly belowMs: number;
  readonly log: Logger;
}

/** The one backend whose runs are short enough and whose native code is entered and left in one turn of the event loop. */
const backend = 'onnx-cpu';

/** A larger model is not worth a second copy, and loading it would hold up the event loop. */
const mostModelBytes = 2 ** 20;

/** A larger request takes long to compute, whatever the model. */
const mostInputBytes = 4096;

/** So many runs in a row, here or in the thread, tell whether a version is fast enough: half of them must be, as others may have waited for a core. */
const measuredRuns = 32;

/**
 * Runs tiny models where the request is answered, as the trip to the engine's thread and back takes longer than they do. A version is
 * loaded a second time for that, and only requests no larger than those that were fast in the engine's thread are run here.
 */
export class InlineRuns implements AsyncDisposable {
  readonly #options: InlineRunsOptions;
  #engine: ReturnType<typeof openInlineEngine> | undefined;

  constructor(options: InlineRunsOptions) {
    this.#options = options;
  }

  /** A `load` whose versions run their tiny requests on this thread. */
  around(load: LoadVersion): LoadVersion {
    return async (source, options) => {
      let inline: InlineVersion | undefined;
      const onLost = (error: NearfarError) => {
        void inline?.close().catch((err: unknown) => this.#options.log.error({ err }, 'unloading failed'));
        options.onLost(error);
      };
      const hosted = await load(source, { ...options, onLost });
      if (this.#options.belowMs === 0 || hosted.backend !== backend || modelBytes(source.manifest) > mostModelBytes) return hosted;
      inline = await this.#open(source, hosted, options.signal);
      return inline ?? hosted;
    };
  }

  /** What cannot be loaded here is run by its thread. */
  async #open(source: VersionOnDisk, hosted: HostedVersion, signal: AbortSignal): Promise<InlineVersion | undefined> {
    try {
      this.#engine ??= openInlineEngine();
      const engine = await this.#engine;
      const { manifest, directory } = source;
      const call = { id: 0, manifest, directory, backends: [backend] as const, variants: [hosted.variant] };
      const { loaded } = await loadVersion(call, async () => engine, signal);
      if (loaded.runNow) return new InlineVersion(hosted, loaded, loaded.runNow, this.#options.belowMs);
      await loaded[Symbol.asyncDispose]();
      return undefined;
    } catch (error) {
      this.#options.log.debug({ err: error }, 'no inline runs');
      return undefined;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const engine = await this.#engine?.catch(() => undefined);
    await engine?.[Symbol.asyncDispose]();
  }
}

async function openInlineEngine() {
  return openEngine(backend, await openNodePlatform({ gpu: false, threads: 1, allowSoftwareAdapter: false, runsNow: true }));
}

function modelBytes({ variants, files }: Manifest): number {
  const paths = new Set(variants.filter(({ format }) => format === 'onnx').flatMap((variant) => variant.files));
  return [...paths].reduce((sum, path) => sum + (files[path]?.bytes ?? 0), 0);
}

type RunHere = NonNullable<LoadedVariant['runNow']>;

/** A hosted version with a copy of it on this thread. */
class InlineVersion implements HostedVersion {
  readonly #hosted: HostedVersion;
  readonly #loaded: LoadedVariant;
  readonly #runHere: RunHere;
  readonly #belowMs: number;
  /** Requests up to this size are fast. */
  #provenBytes = -1;
  #isClosed = false;
  #measured = { runs: 0, fastRuns: 0, bytes: 0 };

  constructor(hosted: HostedVersion, loaded: LoadedVariant, runHere: RunHere, belowMs: number) {
    this.#hosted = hosted;
    this.#loaded = loaded;
    this.#runHere = runHere;
    this.#belowMs = belowMs;
  }

  get backend() {
    return this.#hosted.backend;
  }

  get variant() {
    return this.#hosted.variant;
  }

  get device() {
    return this.#hosted.device;
  }

  get skipped() {
    return this.#hosted.skipped;
  }

  get warmup() {
    return this.#hosted.warmup;
  }

  get parallelism() {
    return this.#hosted.parallelism;
  }

  runNow(request: RunRequest): Ran | undefined {
    const bytes = inputBytes(request.inputs);
    if (this.#isClosed || bytes > this.#provenBytes) return undefined;
    const startedAt = performance.now();
    const outputs = this.#runHere(request);
    if (!outputs) return undefined;
    const inferMs = performance.now() - startedAt;
    this.#judge(bytes, inferMs);
    return { outputs, timing: { queueMs: 0, inferMs } };
  }

  /** For those who can wait: where it is not to run here its thread runs it, and is timed. */
  async run(request: RunRequest, options: { signal?: AbortSignal | undefined } = {}): Promise<Ran> {
    const ran = this.runNow(request);
    if (ran) return ran;
    const bytes = inputBytes(request.inputs);
    const answer = await this.#hosted.run(request, options);
    if (bytes <= mostInputBytes) this.#judge(bytes, answer.timing.inferMs);
    return answer;
  }

  #judge(bytes: number, inferMs: number): void {
    const measured = this.#measured;
    measured.runs++;
    if (inferMs <= this.#belowMs) measured.fastRuns++;
    measured.bytes = Math.max(measured.bytes, bytes);
    if (measured.runs < measuredRuns) return;
    this.#provenBytes = measured.fastRuns * 2 >= measuredRuns ? Math.max(measured.bytes, this.#provenBytes) : -1;
    this.#measured = { runs: 0, fastRuns: 0, bytes: 0 };
  }

  async unload(): Promise<void> {
    await Promise.all([this.close(), this.#hosted.unload()]);
  }

  /** From here on its thread alone answers, or says why not. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#loaded[Symbol.asyncDispose]();
  }
}

/** Strings count as too large: how long they take does not show in their number. */
function inputBytes(inputs: TensorMap): number {
  let bytes = 0;
  for (const tensor of Object.values(inputs)) bytes += tensor.dtype === 'string' ? Number.POSITIVE_INFINITY : tensor.data.byteLength;
  return bytes;
}

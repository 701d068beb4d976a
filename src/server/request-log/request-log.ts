import { grpcStatusName, type LoggingConfig, NearfarError, type TensorMap } from '../../core/index.ts';
import type { Logger } from '../log.ts';
import { type ModelLogging, resolveLogging } from './logging-config.ts';
import { encodeLoggedRequest, encodePredictionLog, type LoggedCall, type LoggedRequest, type LoggedVersion } from './prediction-log.ts';
import { RecordFiles } from './record-files.ts';

export interface RequestLogOptions {
  readonly directory: string;
  /** What the model's config says now; configs may change while the server runs. */
  readonly loggingOf: (model: string) => LoggingConfig | undefined;
  /** Told of each sampled request, with the canonical name of what became of its record. */
  readonly onRecord: (model: string, status: string) => void;
  readonly log: Logger;
  /** @default Math.random */
  readonly random?: (() => number) | undefined;
}

/** A request that is logged once it is answered. */
export interface SampledRequest {
  /** Keeps a copy of what is to run. */
  take(call: LoggedCall): void;
  /** Writes the record. @param outputs Of each run. */
  answer(outputs: readonly TensorMap[]): void;
}

interface ModelLog {
  readonly config: LoggingConfig;
  readonly samplingRate: number;
  readonly files: RecordFiles | undefined;
}

/**
 * Writes sampled requests and their answers as PredictionLogs to TFRecord files, which serve as warm-up requests as they are.
 * No request waits for it: what the disk cannot take is dropped and counted.
 */
export class RequestLog implements AsyncDisposable {
  readonly #options: RequestLogOptions;
  readonly #models = new Map<string, ModelLog>();
  readonly #closing = new Set<Promise<void>>();
  #hasFailed = false;

  constructor(options: RequestLogOptions) {
    this.#options = options;
  }

  /** @returns Undefined for a request that is not logged. */
  sample(version: LoggedVersion): SampledRequest | undefined {
    const model = this.#find(version.name);
    if (!model?.files || (this.#options.random ?? Math.random)() >= model.samplingRate) return undefined;
    const { files, samplingRate } = model;
    let taken: LoggedRequest | undefined;
    // What cannot be written down is counted, and answered nevertheless.
    const attempt = (work: () => void) => {
      try {
        work();
      } catch (error) {
        this.#count(version.name, error instanceof NearfarError ? error : new NearfarError('internal', String(error), { cause: error }));
      }
    };
    return {
      take: (call) =>
        attempt(() => {
          taken = encodeLoggedRequest(version, call);
        }),
      answer: (outputs) =>
        attempt(() => {
          if (taken) files.append(encodePredictionLog(taken, outputs, { version, samplingRate, now: Date.now() }));
        }),
    };
  }

  #find(name: string): ModelLog | undefined {
    const config = this.#options.loggingOf(name);
    const known = this.#models.get(name);
    if (known?.config === config) return known;
    if (known) this.#close(name, known);
    if (!config) return undefined;
    const { prefix, samplingRate = 0 } = this.#resolve(name, config) ?? {};
    const files = prefix === undefined ? undefined : new RecordFiles({ prefix, onRecord: (error) => this.#count(name, error) });
    const model = { config, samplingRate, files };
    this.#models.set(name, model);
    return model;
  }

  /** Requests do not fail by a config that should have been refused. */
  #resolve(name: string, config: LoggingConfig): ModelLogging | undefined {
    try {
      return resolveLogging(name, config, this.#options.directory);
    } catch (error) {
      this.#options.log.error({ model: name, err: error }, 'requests of this model are not logged');
      return undefined;
    }
  }

  #count(name: string, error: NearfarError | undefined): void {
    const { onRecord, log } = this.#options;
    onRecord(name, error ? grpcStatusName(error.code) : 'OK');
    // Once for each time that it begins to fail: the metric has the number.
    if (error && !this.#hasFailed) log.error({ model: name, code: error.code }, error.message);
    this.#hasFailed = error !== undefined;
  }

  #close(name: string, { files }: ModelLog): void {
    this.#models.delete(name);
    if (!files) return;
    const closing = files[Symbol.asyncDispose]().finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }

  /** Resolves when everything answered so far is on its way to the disk. */
  async flush(): Promise<void> {
    await Promise.all([...this.#models.values()].map(({ files }) => files?.flush()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const [name, model] of this.#models) this.#close(name, model);
    await Promise.all(this.#closing);
  }
}

import type { Registry } from 'prom-client';
import type { Manifest, TensorMap } from '../../core/index.ts';
import type { Logger } from '../log.ts';
import type { ServableHandle, ServingMetrics } from '../servables/index.ts';
import { AnswerReader } from './answers.ts';
import { DriftMonitors, type DriftReference } from './drift.ts';
import { addDriftMetrics } from './drift-metrics.ts';
import { Feedback } from './feedback.ts';

export interface QualityOptions {
  readonly registry: Registry;
  /** Share of a model's answers that is looked at for drift, now; 0 looks at none. */
  readonly driftOf: (model: string) => number;
  /** Whether predictions of a model have ids, now. */
  readonly takesFeedback: (model: string) => boolean;
  readonly windowRows: number;
  readonly reference: DriftReference;
  /** Where baselines are kept; undefined: in memory alone. */
  readonly driftDir: string | undefined;
  readonly feedbackKeyFile: string | undefined;
  readonly feedbackTtlMs: number;
  readonly log: Pick<Logger, 'error'>;
  /** @default Math.random */
  readonly random?: (() => number) | undefined;
  /** Milliseconds since 1970. @default Date.now */
  readonly now?: (() => number) | undefined;
}

/** The header, or the metadata key, by which a client asks for an id and is told it. */
export const predictionIdName = 'nearfar-prediction-id';

/** Looks at what models answer: whether that drifts, and whether it was right. */
export class Quality {
  readonly drift: DriftMonitors;
  readonly feedback: Feedback;
  readonly #options: QualityOptions;
  readonly #readers = new WeakMap<Manifest, Map<string, AnswerReader>>();
  #hasFailed = false;

  constructor(options: QualityOptions) {
    const {
      registry,
      windowRows,
      reference,
      driftDir: folder,
      feedbackKeyFile: keyFile,
      feedbackTtlMs: ttlMs,
      log,
      now = Date.now,
    } = options;
    this.#options = options;
    this.drift = new DriftMonitors({ windowRows, reference, folder, log, now });
    this.feedback = new Feedback({ registry, keyFile, ttlMs, now });
    addDriftMetrics(registry, this.drift);
  }

  driftOf(model: string): number {
    return this.#options.driftOf(model);
  }

  takesFeedback(model: string): boolean {
    return this.#options.takesFeedback(model);
  }

  /**
   * Looks at the answers of one run, unless nobody wants to know.
   * @param wantsId Whether the client asked for an id.
   * @returns The id of the prediction, where the client asked for one and the model takes feedback.
   */
  note(handle: ServableHandle, signature: string, outputs: TensorMap, wantsId: () => boolean): string | undefined {
    const share = this.#options.driftOf(handle.name);
    const isSampled = share > 0 && (this.#options.random ?? Math.random)() < share;
    const hasId = this.#options.takesFeedback(handle.name) && wantsId();
    if (!isSampled && !hasId) return undefined;
    // No prediction fails because of what is looked at beside it.
    try {
      const answers = this.readerOf(handle.manifest, signature).read(outputs);
      if (isSampled) this.drift.add(handle, signature, answers);
      return hasId ? this.feedback.idOf(handle, signature, answers) : undefined;
    } catch (error) {
      if (!this.#hasFailed) this.#options.log.error({ model: handle.name, err: error }, 'an answer cannot be looked at');
      this.#hasFailed = true;
      return undefined;
    }
  }

  readerOf(manifest: Manifest, signature: string): AnswerReader {
    const readers = this.#readers.get(manifest) ?? new Map<string, AnswerReader>();
    this.#readers.set(manifest, readers);
    const known = readers.get(signature);
    if (known) return known;
    const reader = new AnswerReader(manifest, signature);
    readers.set(signature, reader);
    return reader;
  }

  /** Forgets versions and models when metrics do. */
  watchingVersions(metrics: Pick<ServingMetrics, 'forgetVersion' | 'forgetModel'>): Pick<ServingMetrics, 'forgetVersion' | 'forgetModel'> {
    return {
      forgetVersion: (model, version) => {
        metrics.forgetVersion(model, version);
        this.drift.forgetVersion(model, version);
        this.feedback.forgetVersion(model, version);
      },
      forgetModel: (model) => {
        metrics.forgetModel(model);
        this.drift.forgetModel(model);
        this.feedback.forgetModel(model);
      },
    };
  }
}

import type { AnyTensor, RunRequest, TensorMap } from '../../core/index.ts';
import type { Logger } from '../log.ts';
import type { ModelSnapshot } from '../repository/index.ts';
import type { Ran, ServableHandle, ServableStore } from '../servables/index.ts';
import { type Comparison, compareAnswers } from './compare-outputs.ts';
import { type Shadow, shadowOf, shadowVersion } from './plan.ts';

/** Where shadow runs are counted. */
export interface ShadowMetrics {
  recordShadow(run: { readonly model: string; readonly version: string; readonly outcome: ShadowOutcome }): void;
}

export type ShadowOutcome = 'agreed' | 'differed' | 'failed' | 'dropped';

export interface ShadowRunsOptions {
  /** What shadow runs are asked of. */
  readonly store: ServableStore;
  readonly metrics: ShadowMetrics;
  readonly log: Logger;
  /** @default Math.random */
  readonly random?: (() => number) | undefined;
  /** Most runs of a model that wait or run. @default 8 */
  readonly mostWaiting?: number | undefined;
  /** Most bytes that all of them hold. @default 67_108_864 (64 MiB) */
  readonly budgetBytes?: number | undefined;
}

/** What shadow runs of one model found, since it was set up or one of its versions changed. */
export interface ShadowReport {
  readonly shadow: Shadow;
  /** That runs, and that it is compared with; undefined while a label is missing, or before the first run. */
  readonly version: string | undefined;
  readonly baseline: string | undefined;
  readonly since: string;
  readonly compared: number;
  readonly agreed: number;
  /** Runs of the shadow version that failed, and the last reason. */
  readonly failed: number;
  readonly lastFailure?: string | undefined;
  /** Requests that were chosen and not run, by why: too many wait, or they are too large. */
  readonly dropped: { readonly busy: number; readonly large: number };
  readonly signatures: readonly SignatureReport[];
}

interface SignatureReport {
  readonly signature: string;
  readonly compared: number;
  readonly agreed: number;
  /** Of rows that score classes, the share with the same highest one; undefined where there are none. */
  readonly topAgreement?: number | undefined;
  readonly maxAbsolute: number;
  readonly maxRelative: number;
  readonly lastDifference?: string | undefined;
  /** Mean time on the engine, in milliseconds. */
  readonly baselineInferMs: number;
  readonly shadowInferMs: number;
}

/** One answered request, kept for the other version. */
interface Sample {
  readonly model: ShadowedModel;
  readonly request: RunRequest;
  readonly bytes: number;
}

/** An answered request for which there was no room. */
interface Dropped {
  readonly model: ShadowedModel;
  readonly why: 'busy' | 'large';
}

class SignatureTally {
  compared = 0;
  agreed = 0;
  rows = 0;
  sameTop = 0;
  maxAbsolute = 0;
  maxRelative = 0;
  lastDifference: string | undefined;
  baselineMs = 0;
  shadowMs = 0;

  add(found: Comparison, baselineMs: number, shadowMs: number): void {
    this.compared++;
    if (found.isWithin) this.agreed++;
    this.rows += found.rows;
    this.sameTop += found.sameTop;
    this.maxAbsolute = Math.max(this.maxAbsolute, found.maxAbsolute);
    this.maxRelative = Math.max(this.maxRelative, found.maxRelative);
    this.lastDifference = found.firstDifference ?? this.lastDifference;
    this.baselineMs += baselineMs;
    this.shadowMs += shadowMs;
  }

  read(signature: string): SignatureReport {
    const { compared, agreed, maxAbsolute, maxRelative, lastDifference } = this;
    return {
      signature,
      compared,
      agreed,
      ...(this.rows > 0 && { topAgreement: this.sameTop / this.rows }),
      maxAbsolute,
      maxRelative,
      lastDifference,
      baselineInferMs: this.baselineMs / compared,
      shadowInferMs: this.shadowMs / compared,
    };
  }
}

/** The shadow runs of one model, between the same two versions. */
class ShadowedModel {
  readonly name: string;
  readonly shadow: Shadow;
  readonly version: string | undefined;
  readonly baseline: string | undefined;
  readonly since = new Date().toISOString();
  readonly signatures = new Map<string, SignatureTally>();
  compared = 0;
  agreed = 0;
  failed = 0;
  lastFailure: string | undefined;
  readonly dropped = { busy: 0, large: 0 };
  /** Samples that wait, are answered by the version that serves, or run. */
  open = 0;

  constructor(name: string, shadow: Shadow, labels: Readonly<Record<string, string>>) {
    this.name = name;
    this.shadow = shadow;
    this.version = shadowVersion(shadow, labels);
    this.baseline = labels['stable'];
  }

  isOf(other: ShadowedModel): boolean {
    const isSame = (a: Shadow, b: Shadow) => a.label === b.label && a.version === b.version;
    return this.version === other.version && this.baseline === other.baseline && isSame(this.shadow, other.shadow);
  }

  report(shadow: Shadow): ShadowReport {
    const { version, baseline, since, compared, agreed, failed, lastFailure, dropped } = this;
    const signatures = [...this.signatures].map(([signature, tally]) => tally.read(signature));
    return { shadow, version, baseline, since, compared, agreed, failed, lastFailure, dropped: { ...dropped }, signatures };
  }
}

/**
 * Lets another version answer a share of the requests that `stable` answers, and compares: after the answer is there, one at a time for each model,
 * and not at all where too many wait. Nothing of it reaches who asked.
 */
export class ShadowRuns {
  readonly #options: ShadowRunsOptions & { readonly random: () => number; readonly mostWaiting: number; readonly budgetBytes: number };
  readonly #models = new Map<string, ShadowedModel>();
  /** The share may change while what was found stays. */
  readonly #shares = new Map<string, Shadow>();
  /** For each model the last of its runs. */
  readonly #last = new Map<string, Promise<void>>();
  #bytes = 0;

  constructor({ random = Math.random, mostWaiting = 8, budgetBytes = 2 ** 26, ...options }: ShadowRunsOptions) {
    this.#options = { ...options, random, mostWaiting, budgetBytes };
  }

  /** Takes over what versions.json says of a model. */
  apply({ name, published, labels }: Pick<ModelSnapshot, 'name' | 'published' | 'labels'>): void {
    const shadow = shadowOf(published);
    if (!shadow) {
      this.forget(name);
      return;
    }
    const model = new ShadowedModel(name, shadow, labels);
    const known = this.#models.get(name);
    if (!known?.isOf(model)) this.#models.set(name, model);
    this.#shares.set(name, shadow);
  }

  forget(name: string): void {
    this.#models.delete(name);
    this.#shares.delete(name);
  }

  report(name: string): ShadowReport | undefined {
    const shadow = this.#shares.get(name);
    return shadow && this.#models.get(name)?.report(shadow);
  }

  /** Resolves when what was chosen up to now has run. */
  async settle(): Promise<void> {
    await Promise.all(this.#last.values());
  }

  /** A store whose handles give some of their requests to the shadow, too. */
  around(store: ServableStore): ServableStore {
    return {
      lend: (spec) => {
        const handle = store.lend(spec);
        const model = this.#models.size === 0 ? undefined : this.#models.get(spec.name);
        return model && this.#isChosen(model, handle) ? this.#watch(model, handle) : handle;
      },
      status: (spec) => store.status(spec),
      labels: (name) => store.labels(name),
      traffic: (name) => store.traffic(name),
      names: () => store.names(),
      isReady: (name) => store.isReady(name),
      watch: (listener) => store.watch(listener),
    };
  }

  #isChosen(model: ShadowedModel, handle: ServableHandle): boolean {
    const { share } = this.#shares.get(model.name) ?? model.shadow;
    if (model.version === undefined || handle.version !== model.baseline || handle.version === model.version) return false;
    return this.#options.random() * 100 < share;
  }

  #watch(model: ShadowedModel, handle: ServableHandle): ServableHandle {
    const { runNow } = handle;
    return {
      ...handle,
      run: async (request, options) => {
        // Before the run takes them.
        const sample = this.#take(model, request);
        try {
          const ran = await handle.run(request, options);
          this.#compare(sample, handle, ran);
          return ran;
        } catch (error) {
          this.#giveUp(sample);
          throw error;
        }
      },
      runNow:
        runNow &&
        ((request) => {
          const sample = this.#take(model, request);
          try {
            const ran = runNow.call(handle, request);
            if (ran) this.#compare(sample, handle, ran);
            else this.#giveUp(sample);
            return ran;
          } catch (error) {
            this.#giveUp(sample);
            throw error;
          }
        }),
      [Symbol.dispose]: () => handle[Symbol.dispose](),
    };
  }

  /** @returns why there is no room for another one. */
  #take(model: ShadowedModel, request: RunRequest): Sample | Dropped {
    const { mostWaiting, budgetBytes } = this.#options;
    if (model.open >= mostWaiting) return { model, why: 'busy' };
    const bytes = bytesOf(request.inputs);
    if (this.#bytes + bytes > budgetBytes) return { model, why: 'large' };
    model.open++;
    this.#bytes += bytes;
    return { model, request: { ...request, inputs: copyOf(request.inputs) }, bytes };
  }

  #giveUp(sample: Sample | Dropped): void {
    if ('why' in sample) return;
    sample.model.open--;
    this.#bytes -= sample.bytes;
  }

  #compare(sample: Sample | Dropped, handle: ServableHandle, ran: Ran): void {
    const { model } = sample;
    if ('why' in sample) {
      model.dropped[sample.why]++;
      this.#options.metrics.recordShadow({ model: model.name, version: model.version ?? '', outcome: 'dropped' });
      return;
    }
    const { name } = sample.model;
    // What the answer is made of is used by others afterwards.
    const right = { outputs: copyOf(ran.outputs), inferMs: ran.timing.inferMs, tolerance: toleranceOf(handle) };
    const before = this.#last.get(name) ?? Promise.resolve();
    const run = before
      .then(() => this.#run(sample, right))
      .finally(() => {
        this.#giveUp(sample);
        if (this.#last.get(name) === run) this.#last.delete(name);
      });
    this.#last.set(name, run);
  }

  async #run(
    { model, request }: Sample,
    right: { readonly outputs: TensorMap; readonly inferMs: number; readonly tolerance: Parameters<typeof compareAnswers>[2] },
  ): Promise<void> {
    const { store, metrics, log } = this.#options;
    const { name, version = '' } = model;
    // The answer goes first.
    await new Promise((resolve) => setImmediate(resolve));
    try {
      using handle = store.lend({ name, version });
      const { outputs, timing } = await handle.run(request, {});
      const found = compareAnswers(right.outputs, outputs, right.tolerance);
      model.compared++;
      if (found.isWithin) model.agreed++;
      const tally = model.signatures.get(request.signature) ?? new SignatureTally();
      model.signatures.set(request.signature, tally);
      tally.add(found, right.inferMs, timing.inferMs);
      metrics.recordShadow({ model: name, version, outcome: found.isWithin ? 'agreed' : 'differed' });
    } catch (error) {
      model.failed++;
      model.lastFailure = error instanceof Error ? error.message : String(error);
      metrics.recordShadow({ model: name, version, outcome: 'failed' });
      log.debug({ model: name, version, err: error }, 'a shadow run failed');
    }
  }
}

function toleranceOf({ manifest, variant }: ServableHandle): { readonly absolute: number; readonly relative: number } {
  return manifest.variants.find(({ id }) => id === variant)?.tolerance ?? { absolute: 0, relative: 0 };
}

function bytesOf(tensors: TensorMap): number {
  return Object.values(tensors).reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
}

function tensorBytes({ data }: AnyTensor): number {
  if (ArrayBuffer.isView(data)) return data.byteLength;
  return data.reduce((sum: number, item: string | Uint8Array) => sum + item.length, 0);
}

function copyOf(tensors: TensorMap): TensorMap {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, { ...tensor, data: tensor.data.slice() } as AnyTensor]));
}

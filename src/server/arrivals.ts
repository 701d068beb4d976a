import { NearfarError } from '../core/index.ts';

/** How long a request waits for the first version of its model, at most. */
const longestWaitMs = 10_000;
/** After this time a server that has models which neither load nor fail counts as started all the same. */
const longestStartMs = 60_000;

export interface ArrivalsOptions {
  /** Whether a model has no version that can answer, and one is being copied, imported or loaded. */
  readonly isOnItsWay: (model: string) => boolean;
  /** Resolves when the condition, asked after every change of a version, holds; rejects with `signal.reason` and when the server closes. */
  readonly waitUntil: (holds: () => boolean, signal: AbortSignal | undefined) => Promise<void>;
  /** Most requests that wait. */
  readonly mostWaiting: number;
}

/**
 * Requests for models that cannot answer yet. tensorflow_model_server opens its ports when its models are loaded, and a small model that is
 * added loads in no time: its clients never meet a model on its way, and its own tests take the error about a model that is not there for
 * the sign that all others are.
 */
export class Arrivals {
  readonly #options: ArrivalsOptions;
  #waiting = 0;
  #isStarting = true;

  constructor(options: ArrivalsOptions) {
    this.#options = options;
  }

  /** The models that the server starts with were looked for: it has started when each of them has answered, or failed, for the first time. */
  async start(models: readonly string[]): Promise<void> {
    const { isOnItsWay, waitUntil } = this.#options;
    await waitUntil(() => !models.some(isOnItsWay), AbortSignal.timeout(longestStartMs)).catch(() => {});
    this.#isStarting = false;
  }

  /**
   * What to do about a model, or a version of it, that was not found.
   * @returns when to look again; undefined when that is of no use.
   * @throws {NearfarError} `unavailable` while the server starts and the request cannot wait. Rejects with `signal.reason`.
   */
  of(model: string, signal: AbortSignal): Promise<void> | undefined {
    if (this.#options.isOnItsWay(model) && this.#waiting < this.#options.mostWaiting) return this.#wait(model, signal);
    if (this.#isStarting) throw new NearfarError('unavailable', 'the server is starting: its models are not loaded yet');
    return undefined;
  }

  async #wait(model: string, signal: AbortSignal): Promise<void> {
    const { isOnItsWay, waitUntil } = this.#options;
    const timeout = AbortSignal.timeout(longestWaitMs);
    this.#waiting++;
    try {
      await waitUntil(() => !isOnItsWay(model), AbortSignal.any([signal, timeout]));
    } catch (error) {
      if (error !== timeout.reason) throw error;
      throw new NearfarError('unavailable', `model ${model} is not loaded yet`, { cause: error, details: { name: model } });
    } finally {
      this.#waiting--;
    }
  }
}

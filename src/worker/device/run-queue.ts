import type { LegTiming, RunRequest, TensorMap } from '../../core/index.ts';
import type { LoadedModel } from './open-model.ts';

/** What of a loaded model a run needs. */
export type RunModel = Pick<LoadedModel, 'manifest' | 'variant' | 'loaded'>;

/** One call of a model: tensors made of its input, and an answer made of the tensors that come back. */
export interface ModelCall<Answer> extends Pick<RunRequest, 'signature' | 'outputs'> {
  readonly model: RunModel;
  readonly signal: AbortSignal;
  /** @param isNext Whether the run follows at once, so that the tensors may be in memory that the next call overwrites. */
  readonly encode: (isNext: boolean) => Pick<RunRequest, 'inputs' | 'layouts'>;
  readonly decode: (outputs: TensorMap) => Answer;
}

/** An answer, and where its time went. */
export interface Answered<Answer> {
  readonly answer: Answer;
  readonly timing: LegTiming;
}

/** Runs one thing at a time, in the order they came. */
export interface RunQueue {
  run<Answer>(call: ModelCall<Answer>): Promise<Answered<Answer>>;
  /** Work that is no call of a model. */
  work(work: () => Promise<void>): Promise<void>;
}

/** Runs calls together that wait for each other. */
export interface MicroBatching {
  /** The calls to be run next, the first that waits among them; none or one where they are better run alone. */
  choose(waiting: readonly Waiting[]): readonly QueuedCall[];
  /** Never rejects. */
  run(calls: readonly QueuedCall[], nextTask: () => Promise<void>): Promise<void>;
}

/** A call that comes so soon after a run was sent before it ended: on an engine that holds the thread up, others stand behind it. */
const adjacentMs = 0.15;

export type Waiting = QueuedCall | (() => Promise<void>);

/**
 * @param nextTask Awaited between two runs: wasm engines answer in microtasks, so that a queue without it would keep every cancellation
 * out until it is empty.
 * @param loadBatching Called when a call has to wait for another one for the first time; nothing waits for what it loads.
 */
export function createRunQueue(nextTask: () => Promise<void>, loadBatching: () => Promise<MicroBatching>): RunQueue {
  const waiting: Waiting[] = [];
  let isBusy = false;
  let endedAt = Number.NEGATIVE_INFINITY;
  let isLoading = false;
  let batching: MicroBatching | undefined;
  const load = async () => {
    isLoading = true;
    // Without it calls run one by one.
    batching = await loadBatching().catch(() => undefined);
  };
  const runNext = async () => {
    const calls = waiting.length > 1 ? batching?.choose(waiting) : undefined;
    if (calls && calls.length > 1) {
      for (const call of calls) waiting.splice(waiting.indexOf(call), 1);
      return batching?.run(calls, nextTask);
    }
    const next = waiting.shift();
    return next instanceof QueuedCall ? next.runAlone() : next?.();
  };
  const runAll = async () => {
    isBusy = true;
    let mustYield = performance.now() - endedAt < adjacentMs;
    while (waiting.length > 0) {
      if (mustYield) await nextTask();
      await runNext();
      mustYield = true;
    }
    endedAt = performance.now();
    isBusy = false;
  };
  const push = (entry: Waiting) => {
    waiting.push(entry);
    if (!isBusy) void runAll();
    else if (!isLoading) void load();
  };
  return {
    run: (call) => new Promise((resolve, reject) => push(new QueuedCall(call, resolve as (answered: Answered<unknown>) => void, reject))),
    work: (work) => new Promise((resolve, reject) => push(() => work().then(resolve, reject))),
  };
}

/** A call that waits for its turn. */
export class QueuedCall {
  readonly call: ModelCall<unknown>;
  readonly #resolve: (answered: Answered<unknown>) => void;
  readonly #queuedAt: number = performance.now();
  #request: RunRequest | undefined;
  #preprocessMs = 0;
  /** Fails the call. */
  readonly reject: (error: unknown) => void;

  constructor(call: ModelCall<unknown>, resolve: (answered: Answered<unknown>) => void, reject: (error: unknown) => void) {
    this.call = call;
    this.#resolve = resolve;
    this.reject = reject;
  }

  /**
   * What is run, made once.
   * @throws What encoding throws.
   */
  request(isNext = false): RunRequest {
    if (this.#request) return this.#request;
    const { signature, outputs, encode } = this.call;
    const startedAt = performance.now();
    this.#request = { signature, outputs, ...encode(isNext) };
    this.#preprocessMs = performance.now() - startedAt;
    return this.#request;
  }

  /** @param onRun Told of the outputs before they go to who called, who may move them elsewhere. */
  async runAlone(onRun?: (outputs: TensorMap, inferMs: number) => void): Promise<void> {
    try {
      const { signal, model } = this.call;
      signal.throwIfAborted();
      const request = this.request(true);
      const startedAt = performance.now();
      const outputs = await model.loaded.run(request, { signal });
      const inferMs = performance.now() - startedAt;
      onRun?.(outputs, inferMs);
      this.answer(outputs, { startedAt, inferMs });
    } catch (error) {
      this.reject(error);
    }
  }

  /** Answers with the outputs of a run, unless the call was aborted. */
  answer(outputs: TensorMap, { startedAt, inferMs, batchSize }: { startedAt: number; inferMs: number; batchSize?: number }): void {
    try {
      this.call.signal.throwIfAborted();
      const ranAt = performance.now();
      const answer = this.call.decode(outputs);
      const queueMs = Math.max(0, startedAt - this.#queuedAt - this.#preprocessMs);
      const timing = { queueMs, preprocessMs: this.#preprocessMs, inferMs, postprocessMs: performance.now() - ranAt };
      this.#resolve({ answer, timing: { ...timing, ...(batchSize && { batchSize }) } });
    } catch (error) {
      this.reject(error);
    }
  }
}

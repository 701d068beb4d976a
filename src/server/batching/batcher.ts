import {
  assertRows,
  batchKey,
  joinRows,
  type NearfarErrorCode,
  type RunRequest,
  rowsOf,
  serializeError,
  sliceRows,
  type TensorMap,
} from '../../core/index.ts';
import type { BufferPool } from '../buffer-pool.ts';
import type { Logger } from '../log.ts';
import type { ServableHandle, ServableTiming } from '../servables/index.ts';
import type { Batch, BatchLimits, Slice } from './batch-queue.ts';
import type { BatchScheduler, Clock, Lane } from './batch-scheduler.ts';

/** What a run gives back. */
export type RunResult = Awaited<ReturnType<ServableHandle['run']>>;

/** The way to the engine, held open by whoever uses it. */
export interface Lease {
  /** How many runs can go on side by side. */
  readonly parallelism: number;
  run(request: RunRequest, options: { signal?: AbortSignal | undefined }): Promise<RunResult>;
  /** Keeps the version loaded until the result is called. */
  hold(): () => void;
}

/** A run of the engine, for those who measure. */
export interface BatchRun {
  /** Rows of requests, without those that fill up. */
  readonly rows: number;
  readonly padding: number;
  readonly requests: number;
  readonly timing: ServableTiming;
}

/** How the requests of one kind are batched now. */
export interface LanePlan {
  readonly limits: BatchLimits;
  /** Sizes that batches are filled up to, increasing; none for any size. */
  readonly allowedSizes: readonly number[];
  readonly padsVariableLengths: boolean;
}

export interface BatcherOptions {
  readonly scheduler: BatchScheduler<BatchTask>;
  readonly clock: Clock;
  readonly buffers: BufferPool;
  readonly log: Logger;
  /** Called for each time that a request waited in the queue, in milliseconds. */
  readonly onQueued: (queueMs: number) => void;
  readonly onRun: (signature: string, run: BatchRun) => void;
}

/** A request that waits for others, or runs with them. */
export interface BatchTask {
  readonly rows: number;
  readonly request: RunRequest;
  readonly lease: Lease;
  readonly enqueuedAt: number;
  readonly resolve: (result: RunResult) => void;
  readonly reject: (error: unknown) => void;
  /** Answered, failed, or given up by who asked. */
  isSettled: boolean;
  /** Results of its slices, when it was split, by the row they begin at. */
  readonly parts: Map<number, RunResult>;
  /** Rows without a result. */
  missing: number;
  /** Runs that it is part of. */
  readonly runs: Set<SharedRun>;
}

/** A run that is dropped when nobody waits for it any more. */
export interface SharedRun {
  readonly controller: AbortController;
  waiting: number;
}

type OpenLane = Lane<BatchTask> & { plan: LanePlan };

/** Running the requests one by one could not help: the engine is gone, or takes nothing more. */
const engineIsGone: ReadonlySet<NearfarErrorCode> = new Set(['unavailable', 'device-lost', 'overloaded', 'cancelled']);

/**
 * Joins the concurrent requests of one version that differ in their rows only: of one signature, with the same wanted outputs, dtypes and
 * shapes behind the first dimension. Each gets its own rows of the answer back.
 */
export class Batcher {
  readonly #options: BatcherOptions;
  readonly #lanes = new Map<string, OpenLane>();
  /** Signatures whose answers have no row for each row of their inputs, against what they say. */
  readonly #unbatchable = new Set<string>();

  constructor(options: BatcherOptions) {
    this.#options = options;
  }

  /**
   * Runs a request together with others.
   * @throws {NearfarError} `invalid-argument` when its inputs have different numbers of rows, or too many; `overloaded` when the queue is
   * full; what the engine throws; rejects with `signal.reason` as soon as it aborts, which harms no other request.
   */
  async run(lease: Lease, request: RunRequest, plan: LanePlan, signal: AbortSignal | undefined): Promise<RunResult> {
    signal?.throwIfAborted();
    const rows = rowsOf(request.inputs);
    if (rows === 0 || this.#unbatchable.has(request.signature)) return lease.run(request, { signal });
    const key = batchKey(request, plan);
    const lane = this.#laneOf(key, plan);
    const { scheduler, clock } = this.#options;
    let onAbort = () => {};
    try {
      return await new Promise<RunResult>((resolve, reject) => {
        const enqueuedAt = clock.now();
        const own = { isSettled: false, parts: new Map(), missing: rows, runs: new Set<SharedRun>() };
        const task: BatchTask = { rows, request, lease, enqueuedAt, resolve, reject, ...own };
        scheduler.push(lane, task);
        if (!signal) return;
        onAbort = () => {
          settle(task, () => reject(signal.reason));
          scheduler.drop(lane, task);
          for (const run of task.runs) if (--run.waiting === 0) run.controller.abort(signal.reason);
        };
        signal.addEventListener('abort', onAbort, { once: true });
      });
    } finally {
      signal?.removeEventListener('abort', onAbort);
      if (lane.queue.isEmpty && this.#lanes.get(key) === lane) this.#lanes.delete(key);
    }
  }

  /** Kinds of requests that wait or run. */
  get lanes(): number {
    return this.#lanes.size;
  }

  /** Lanes are made when they are needed and forgotten when they are empty: clients choose the shapes, thus how many there are. */
  #laneOf(key: string, plan: LanePlan): OpenLane {
    const known = this.#lanes.get(key);
    if (known) {
      known.plan = plan;
      known.queue.limits = plan.limits;
      return known;
    }
    const { scheduler } = this.#options;
    const opened = scheduler.openLane(plan.limits, (batch) => this.#runBatch(batch, lane.plan));
    const lane: OpenLane = Object.assign(opened, { plan });
    this.#lanes.set(key, lane);
    return lane;
  }

  async #runBatch(batch: Batch<BatchTask>, plan: LanePlan): Promise<void> {
    const { clock, onQueued } = this.#options;
    const startedAt = clock.now();
    // A task whose first slice failed is settled, while others still waited.
    const slices = batch.slices.filter(({ task }) => !task.isSettled);
    const [first] = slices;
    if (!first) return;
    for (const { task, from } of slices) if (from === 0) onQueued(startedAt - task.enqueuedAt);
    const release = first.task.lease.hold();
    try {
      await this.#answer(slices, plan, startedAt);
    } catch (error) {
      const isFinal = slices.length === 1 || engineIsGone.has(serializeError(error).code);
      // One bad request must not fail the others, and only alone it shows which one it is.
      const plain = { ...plan, allowedSizes: [] };
      await Promise.all(slices.map((slice) => (isFinal ? fail(slice.task, error) : this.#answerAlone(slice, plain, startedAt))));
    } finally {
      release();
    }
  }

  async #answerAlone(slice: Slice<BatchTask>, plan: LanePlan, startedAt: number): Promise<void> {
    const { task } = slice;
    if (task.isSettled) return;
    const release = task.lease.hold();
    try {
      await this.#answer([slice], plan, startedAt);
    } catch (error) {
      fail(task, error);
    } finally {
      release();
    }
  }

  /** Runs slices together and gives each its rows. */
  async #answer(slices: readonly Slice<BatchTask>[], plan: LanePlan, startedAt: number): Promise<void> {
    const [first] = slices;
    if (!first) return;
    const { request, lease } = first.task;
    const rows = slices.reduce((sum, { from, to }) => sum + to - from, 0);
    const size = plan.allowedSizes.find((allowed) => allowed >= rows) ?? rows;
    // A request alone goes as it is, without a copy.
    const isAlone = slices.length === 1 && size === first.task.rows;
    const inputs = isAlone ? request.inputs : this.#join(slices, size);
    const run: SharedRun = { controller: new AbortController(), waiting: slices.length };
    for (const { task } of slices) task.runs.add(run);
    const { outputs, timing } = await lease.run({ ...request, inputs }, { signal: run.controller.signal });
    for (const { task } of slices) task.runs.delete(run);
    if (!isAlone) this.#assertRows(request.signature, outputs, size);
    let row = 0;
    for (const { task, from, to } of slices) {
      const own = isAlone ? outputs : sliceAll(outputs, row, row + to - from);
      row += to - from;
      const queueMs = startedAt - task.enqueuedAt + timing.queueMs;
      this.#take(task, { from, to }, { outputs: own, timing: { queueMs, inferMs: timing.inferMs, batchSize: rows } });
      if (!isAlone && task.missing === 0) this.#giveBack(task.request.inputs);
    }
    this.#options.onRun(request.signature, { rows, padding: size - rows, requests: slices.length, timing });
  }

  #join(slices: readonly Slice<BatchTask>[], rows: number): TensorMap {
    const { buffers } = this.#options;
    const parts = slices.map(({ task, from, to }) => ({ tensors: task.request.inputs, from, to }));
    return joinRows(parts, { rows, allocate: (bytes) => buffers.allocate(bytes) });
  }

  #assertRows(signature: string, outputs: TensorMap, rows: number): void {
    try {
      assertRows(outputs, rows);
    } catch (error) {
      if (!this.#unbatchable.has(signature)) {
        this.#unbatchable.add(signature);
        this.#options.log.warn({ signature }, `its requests are batched no more: ${error instanceof Error ? error.message : error}`);
      }
      throw error;
    }
  }

  #take(task: BatchTask, { from, to }: { from: number; to: number }, part: RunResult): void {
    task.missing -= to - from;
    if (to - from < task.rows) task.parts.set(from, part);
    if (task.missing === 0) settle(task, () => task.resolve(task.parts.size === 0 ? part : joinResults(task)));
  }

  /** The memory of a request's inputs that were copied into a batch. */
  #giveBack(inputs: TensorMap): void {
    const { buffers } = this.#options;
    const lent = new Set<ArrayBuffer>();
    for (const { data } of Object.values(inputs)) {
      if (ArrayBuffer.isView(data) && data.buffer instanceof ArrayBuffer && buffers.isLent(data.buffer)) lent.add(data.buffer);
    }
    for (const buffer of lent) buffers.give(buffer);
  }
}

function settle(task: BatchTask, how: () => void): void {
  if (task.isSettled) return;
  task.isSettled = true;
  how();
}

function fail(task: BatchTask, error: unknown): void {
  settle(task, () => task.reject(error));
}

/** What the slices of a request gave, in the order of its rows: it waited for the first and was computed by all. */
function joinResults({ parts, rows }: BatchTask): RunResult {
  const results = [...parts].sort(([a], [b]) => a - b).map(([, result]) => result);
  const tensors = results.map(({ outputs }) => ({ tensors: outputs, from: 0, to: rowsOf(outputs) }));
  return {
    outputs: joinRows(tensors, { rows, allocate: (bytes) => new Uint8Array(bytes) }),
    timing: {
      queueMs: Math.min(...results.map(({ timing }) => timing.queueMs)),
      inferMs: results.reduce((sum, { timing }) => sum + timing.inferMs, 0),
      batchSize: Math.max(...results.map(({ timing }) => timing.batchSize ?? 0)),
    },
  };
}

function sliceAll(outputs: TensorMap, from: number, to: number): TensorMap {
  return Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, sliceRows(tensor, from, to)]));
}

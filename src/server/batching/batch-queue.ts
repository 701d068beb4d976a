import { NearfarError } from '../../core/index.ts';

/** Work of a number of rows that waits for others to run with. */
export interface RowTask {
  readonly rows: number;
}

/** The rows `from` up to but without `to` of a task: all of them unless it was split. */
export interface Slice<Task> {
  readonly task: Task;
  readonly from: number;
  readonly to: number;
}

/** Slices that run together. */
export interface Batch<Task> {
  readonly slices: readonly Slice<Task>[];
  readonly rows: number;
}

export interface BatchLimits {
  /** Most rows of one task. */
  readonly maxTaskRows: number;
  /** Most rows of one batch. */
  readonly maxBatchRows: number;
  /** How long the first task of a batch waits for others, in milliseconds. */
  readonly timeoutMs: number;
  /** Batches that may wait. */
  readonly maxBatches: number;
  /** Whether a task may be spread over several batches. Without, `maxTaskRows` is at most `maxBatchRows`. */
  readonly splits: boolean;
}

interface WaitingBatch<Task> {
  readonly slices: Slice<Task>[];
  rows: number;
  /** When its first task came. */
  readonly openedAt: number;
}

/**
 * Tasks in, batches out, both in order: the queue of TensorFlow's SharedBatchScheduler. Only the last batch takes more tasks; it is due
 * when it is full or has waited long enough, those before it are due at once. It knows no clock and runs nothing.
 */
export class BatchQueue<Task extends RowTask> {
  /** May change at any time: it holds for the tasks that come. */
  limits: BatchLimits;
  readonly #batches: WaitingBatch<Task>[] = [];

  constructor(limits: BatchLimits) {
    this.limits = limits;
  }

  get isEmpty(): boolean {
    return this.#batches.length === 0;
  }

  /** Rows that wait. */
  get rows(): number {
    return this.#batches.reduce((sum, { rows }) => sum + rows, 0);
  }

  /**
   * @throws {NearfarError} `invalid-argument` for a task that is too large, `overloaded` when as many batches wait as may; both with
   * the texts of TensorFlow.
   */
  push(task: Task, now: number): void {
    this.#assertFits(task);
    const { maxBatchRows, splits } = this.limits;
    for (let from = 0; from < task.rows; ) {
      const rows = task.rows - from;
      const last = this.#batches.at(-1);
      const room = last ? maxBatchRows - last.rows : 0;
      const isTaken = last !== undefined && (splits ? room > 0 : room >= rows);
      const batch = isTaken ? last : this.#open(now);
      const to = splits ? from + Math.min(rows, isTaken ? room : maxBatchRows) : task.rows;
      batch.slices.push({ task, from, to });
      batch.rows += to - from;
      from = to;
    }
  }

  #open(now: number): WaitingBatch<Task> {
    const batch: WaitingBatch<Task> = { slices: [], rows: 0, openedAt: now };
    this.#batches.push(batch);
    return batch;
  }

  #assertFits({ rows }: Task): void {
    const { maxTaskRows, maxBatchRows, maxBatches, splits } = this.limits;
    if (rows > maxTaskRows) {
      throw new NearfarError('invalid-argument', `Task size ${rows} is larger than maximum input batch size ${maxTaskRows}`, {
        details: { rows, limit: maxTaskRows },
      });
    }
    const batches = this.#batches.length;
    const openRows = this.#batches.at(-1)?.rows ?? maxBatchRows;
    const room = Math.max(0, maxBatchRows - openRows);
    const capacity = Math.max(0, maxBatches - batches) * maxBatchRows + room;
    const isFull = splits ? rows > capacity : rows > room && batches >= maxBatches;
    if (!isFull) return;
    const text = 'The batch scheduling queue to which this task was submitted is full';
    const counts = `(num_enqueued_batches=${batches}, max_enqueued_batches=${maxBatches}, open_batch_size=${openRows}, max_execution_batch_size=${maxBatchRows})`;
    const message = splits ? `${text}; task size is ${rows} but scheduling capacity is only ${capacity} ${counts}` : text;
    throw new NearfarError('overloaded', message, { details: { limit: maxBatches } });
  }

  /** Takes a task out, all its slices that still wait. */
  drop(task: Task): void {
    for (const batch of [...this.#batches]) {
      const kept = batch.slices.filter((slice) => slice.task !== task);
      if (kept.length === batch.slices.length) continue;
      batch.slices.splice(0, batch.slices.length, ...kept);
      batch.rows = kept.reduce((sum, { from, to }) => sum + to - from, 0);
      if (kept.length === 0) this.#batches.splice(this.#batches.indexOf(batch), 1);
    }
  }

  /** When the first batch is due; in the past where it is already. Undefined when nothing waits. */
  dueAt(): number | undefined {
    const [first] = this.#batches;
    if (!first) return undefined;
    const isComplete = this.#batches.length > 1 || first.rows >= this.limits.maxBatchRows;
    return isComplete ? Number.NEGATIVE_INFINITY : first.openedAt + this.limits.timeoutMs;
  }

  /** The first batch, due or not. */
  take(): Batch<Task> | undefined {
    return this.#batches.shift();
  }
}

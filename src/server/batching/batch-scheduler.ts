import { type Batch, type BatchLimits, BatchQueue, type RowTask } from './batch-queue.ts';

/** Time as the scheduler sees it. */
export interface Clock {
  /** In milliseconds. */
  now(): number;
  /** Calls back when what the event loop has at hand is done. */
  defer(callback: () => void): void;
  /** Calls back after some milliseconds, not before. @returns what forgets it. */
  wait(ms: number, callback: () => void): () => void;
}

/** Tasks of one kind, with what runs their batches. */
export interface Lane<Task extends RowTask> {
  readonly queue: BatchQueue<Task>;
  /** Never rejects. */
  readonly run: (batch: Batch<Task>) => Promise<void>;
}

/**
 * Runs the batches of many lanes, so many at a time, the lanes in turn: what TensorFlow's SharedBatchScheduler does with its threads.
 * A lane is known here only while it has something to run.
 */
export class BatchScheduler<Task extends RowTask> {
  /** Batches that run side by side; may change at any time. */
  maxRunning: number;
  readonly #clock: Clock;
  /** In the order of their turns. */
  readonly #waiting = new Set<Lane<Task>>();
  #running = 0;
  #isDeferred = false;
  #forgetTimer = () => {};

  constructor(maxRunning: number, clock: Clock) {
    this.maxRunning = maxRunning;
    this.#clock = clock;
  }

  openLane(limits: BatchLimits, run: (batch: Batch<Task>) => Promise<void>): Lane<Task> {
    return { queue: new BatchQueue<Task>(limits), run };
  }

  /** @throws {NearfarError} as {@link BatchQueue.push}. */
  push(lane: Lane<Task>, task: Task): void {
    lane.queue.push(task, this.#clock.now());
    this.#waiting.add(lane);
    this.#defer();
  }

  drop(lane: Lane<Task>, task: Task): void {
    lane.queue.drop(task);
    if (lane.queue.isEmpty) this.#waiting.delete(lane);
  }

  /** Requests that one turn of the event loop brings run together, although the first of them could have been run at once. */
  #defer(): void {
    if (this.#isDeferred || this.#running >= this.maxRunning) return;
    this.#isDeferred = true;
    this.#clock.defer(() => {
      this.#isDeferred = false;
      this.#start();
    });
  }

  #start(): void {
    this.#forgetTimer();
    while (this.#running < this.maxRunning) {
      const now = this.#clock.now();
      const lane = [...this.#waiting].find(({ queue }) => (queue.dueAt() ?? Number.POSITIVE_INFINITY) <= now);
      if (!lane) {
        this.#awaitNext(now);
        return;
      }
      void this.#run(lane);
    }
  }

  async #run(lane: Lane<Task>): Promise<void> {
    const batch = lane.queue.take();
    this.#waiting.delete(lane);
    if (!lane.queue.isEmpty) this.#waiting.add(lane);
    if (!batch) return;
    this.#running++;
    try {
      await lane.run(batch);
    } finally {
      this.#running--;
      if (this.#waiting.size > 0) this.#defer();
    }
  }

  #awaitNext(now: number): void {
    const due = Math.min(...[...this.#waiting].map(({ queue }) => queue.dueAt() ?? Number.POSITIVE_INFINITY));
    if (due === Number.POSITIVE_INFINITY) return;
    this.#forgetTimer = this.#clock.wait(due - now, () => this.#defer());
  }
}

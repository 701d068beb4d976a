import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Batch, type BatchLimits, BatchQueue } from '../../../src/server/batching/batch-queue.ts';

interface Task {
  readonly id: number;
  readonly rows: number;
}

const limits = (given: Partial<BatchLimits> = {}): BatchLimits => {
  const maxBatchRows = given.maxBatchRows ?? 4;
  return { maxTaskRows: maxBatchRows, maxBatchRows, timeoutMs: 0, maxBatches: 100, splits: false, ...given };
};

const anyLimits = fc
  .record({ maxBatchRows: fc.integer({ min: 1, max: 8 }), maxBatches: fc.integer({ min: 1, max: 5 }), splits: fc.boolean() })
  .map(({ splits, ...given }) => limits({ ...given, splits, timeoutMs: 5, maxTaskRows: splits ? 40 : given.maxBatchRows }));

/** What happens to a queue: a task comes, an earlier one goes, a batch is taken. */
const anyStep = fc.oneof(
  fc.record({ kind: fc.constant('push' as const), rows: fc.integer({ min: 1, max: 20 }) }),
  fc.record({ kind: fc.constant('drop' as const), index: fc.nat(30) }),
  fc.record({ kind: fc.constant('take' as const) }),
);

function drain(queue: BatchQueue<Task>): Batch<Task>[] {
  const batches: Batch<Task>[] = [];
  for (let batch = queue.take(); batch; batch = queue.take()) batches.push(batch);
  return batches;
}

describe('whatever comes, goes and is taken', () => {
  test('every row of an accepted task comes out once and in order, in batches within the limit, unless it was dropped', () => {
    fc.assert(
      fc.property(anyLimits, fc.array(anyStep, { maxLength: 60 }), (given, steps) => {
        const queue = new BatchQueue<Task>(given);
        const accepted: Task[] = [];
        const dropped = new Set<Task>();
        const taken: Batch<Task>[] = [];
        for (const [id, step] of steps.entries()) {
          if (step.kind === 'push') {
            const task = { id, rows: step.rows };
            try {
              queue.push(task, id);
              accepted.push(task);
            } catch (error) {
              expect(error).toMatchObject({ code: step.rows > given.maxTaskRows ? 'invalid-argument' : 'overloaded' });
            }
          } else if (step.kind === 'drop') {
            const task = accepted[step.index];
            if (task) dropped.add(task);
            if (task) queue.drop(task);
          } else taken.push(...[queue.take() ?? []].flat());
        }
        taken.push(...drain(queue));

        expect(queue.isEmpty).toBe(true);
        expect(queue.dueAt()).toBeUndefined();
        const slices = taken.flatMap((batch) => batch.slices);
        for (const batch of taken) {
          expect(batch.rows).toBe(batch.slices.reduce((sum, { from, to }) => sum + to - from, 0));
          expect(batch.rows).toBeGreaterThan(0);
          expect(batch.rows).toBeLessThanOrEqual(given.maxBatchRows);
        }
        const order = slices.map(({ task }) => task.id);
        expect(order).toEqual([...order].sort((a, b) => a - b));
        for (const task of accepted) {
          const rows = slices
            .filter((slice) => slice.task === task)
            .flatMap(({ from, to }) => Array.from({ length: to - from }, (_, row) => from + row));
          const isPrefix = rows.every((row, index) => row === index);
          expect(isPrefix).toBe(true);
          if (!dropped.has(task)) expect(rows).toHaveLength(task.rows);
        }
      }),
    );
  });

  test('no more batches wait than may', () => {
    fc.assert(
      fc.property(anyLimits, fc.array(fc.integer({ min: 1, max: 20 }), { maxLength: 40 }), (given, sizes) => {
        const queue = new BatchQueue<Task>(given);
        for (const [id, rows] of sizes.entries()) {
          try {
            queue.push({ id, rows }, 0);
          } catch {
            // refused
          }
        }

        expect(drain(queue).length).toBeLessThanOrEqual(given.maxBatches);
      }),
    );
  });
});

describe('a batch', () => {
  test('is due when it is full, when another one waits behind it, or when its first task waited long enough', () => {
    const queue = new BatchQueue<Task>(limits({ timeoutMs: 10 }));
    queue.push({ id: 0, rows: 3 }, 100);
    const open = queue.dueAt();
    queue.push({ id: 1, rows: 2 }, 105);
    const behind = queue.dueAt();
    queue.take();
    const next = queue.dueAt();
    queue.push({ id: 2, rows: 2 }, 106);

    expect([open, behind, next, queue.dueAt()]).toEqual([110, Number.NEGATIVE_INFINITY, 115, Number.NEGATIVE_INFINITY]);
  });

  test('is filled from a split task up to its limit', () => {
    const queue = new BatchQueue<Task>(limits({ splits: true, maxTaskRows: 100 }));
    queue.push({ id: 0, rows: 3 }, 0);
    queue.push({ id: 1, rows: 7 }, 0);

    expect(drain(queue).map(({ slices }) => slices.map(({ task, from, to }) => [task.id, from, to]))).toEqual([
      [
        [0, 0, 3],
        [1, 0, 1],
      ],
      [[1, 1, 5]],
      [[1, 5, 7]],
    ]);
  });
});

describe('refusals have the words of TensorFlow', () => {
  test('for a task that is larger than a batch', () => {
    const queue = new BatchQueue<Task>(limits());

    expect(() => queue.push({ id: 0, rows: 5 }, 0)).toThrow('Task size 5 is larger than maximum input batch size 4');
  });

  test('for a queue that is full', () => {
    const queue = new BatchQueue<Task>(limits({ maxBatches: 1 }));
    queue.push({ id: 0, rows: 3 }, 0);

    expect(() => queue.push({ id: 1, rows: 2 }, 0)).toThrow('The batch scheduling queue to which this task was submitted is full');
  });

  test('for a queue that has no room for all slices of a task', () => {
    const queue = new BatchQueue<Task>(limits({ maxBatches: 2, splits: true, maxTaskRows: 100 }));
    queue.push({ id: 0, rows: 3 }, 0);

    expect(() => queue.push({ id: 1, rows: 6 }, 0)).toThrow(
      'is full; task size is 6 but scheduling capacity is only 5 (num_enqueued_batches=1, max_enqueued_batches=2, open_batch_size=3, max_execution_batch_size=4)',
    );
  });
});

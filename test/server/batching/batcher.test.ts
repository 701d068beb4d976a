import { expect, test } from 'vitest';
import { NearfarError } from '../../../src/core/index.ts';
import { BatchScheduler } from '../../../src/server/batching/batch-scheduler.ts';
import { Batcher, type BatchTask, type LanePlan, type Lease } from '../../../src/server/batching/batcher.ts';
import { BufferPool } from '../../../src/server/buffer-pool.ts';
import { counting, createRowStore, silent } from '../../support/row-store.ts';

const clock = { now: () => 0, defer: (callback: () => void) => void setImmediate(callback), wait: () => () => {} };

function openBatcher(): Batcher {
  const scheduler = new BatchScheduler<BatchTask>(1, clock);
  return new Batcher({ scheduler, clock, buffers: new BufferPool(), log: silent, onQueued: () => {}, onRun: () => {} });
}

const plan = (timeoutMs = 0): LanePlan => ({
  limits: { maxTaskRows: 2, maxBatchRows: 2, timeoutMs, maxBatches: 1, splits: false },
  allowedSizes: [],
  padsVariableLengths: false,
});

/** Rows of a length that no other request has. */
const request = (rows: number, length: number) => ({ signature: 'serving_default', inputs: { x: counting(0, rows, length) } });

test('forgets the kinds of requests that were answered, refused or given up: clients choose how many there are', async () => {
  const batcher = openBatcher();
  using handle = createRowStore().lend({ name: 'm' });
  const lease: Lease = { parallelism: 1, run: (asked, options) => handle.run(asked, options), hold: () => () => {} };

  await batcher.run(lease, request(1, 1), plan(), undefined);
  const tooLarge = batcher.run(lease, request(3, 2), plan(), undefined);
  await expect(tooLarge).rejects.toMatchObject({ code: 'invalid-argument' });
  const client = new AbortController();
  const givenUp = batcher.run(lease, request(1, 3), plan(1000), client.signal);
  const waiting = batcher.lanes;
  client.abort(new NearfarError('cancelled', 'gone'));
  await expect(givenUp).rejects.toMatchObject({ code: 'cancelled' });

  expect(waiting).toBe(1);
  expect(batcher.lanes).toBe(0);
});

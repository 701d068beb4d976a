import { expect, test } from 'vitest';
import { Tuner, type TuningReport } from '../../../src/server/batching/tuner.ts';

function openTuner(p99TargetMs: number) {
  const choices: TuningReport[] = [];
  const time = { now: 0 };
  const tuner = new Tuner({ p99TargetMs, now: () => time.now, onChoice: (report) => choices.push(report) });
  /** Runs batches as large as the tuner lets them be, until it chose. */
  const runUntilChosen = (inferMs: (rows: number) => number, most = Number.POSITIVE_INFINITY) => {
    const before = choices.length;
    const sizes = new Set<number>();
    for (let run = 0; run < 1000 && choices.length === before; run++) {
      const rows = Math.min(most, tuner.maxBatchSize);
      sizes.add(rows);
      tuner.record({ rows, inferMs: inferMs(rows) });
    }
    return { sizes: [...sizes], choice: choices.at(-1) };
  };
  return { tuner, time, choices, runUntilChosen };
}

test('batches as much as it can where a run takes the same time whatever its rows', () => {
  const { tuner, runUntilChosen } = openTuner(50);

  const { choice } = runUntilChosen(() => 0.2);

  expect(choice).toMatchObject({ state: 'batching', maxBatchSize: 256, reason: 'a row of 256 takes 0 % of its time alone' });
  expect(tuner.maxBatchSize).toBe(256);
});

test('does not batch where a row takes as long in a batch as alone, having tried eight of them', () => {
  const { tuner, runUntilChosen } = openTuner(10_000);

  const { sizes, choice } = runUntilChosen((rows) => 20 * rows);

  expect(sizes).toEqual([1, 2, 4, 8]);
  expect(choice).toMatchObject({ state: 'off', maxBatchSize: 1, msPerRow: { 1: 20, 2: 20, 4: 20, 8: 20 } });
  expect(tuner.maxBatchSize).toBe(1);
});

test('stops where twice the rows save nothing more', () => {
  const { runUntilChosen } = openTuner(10_000);

  // Sixteen rows run side by side.
  const { choice } = runUntilChosen((rows) => 10 * Math.ceil(rows / 16));

  expect(choice).toMatchObject({ state: 'batching', maxBatchSize: 16 });
});

test('keeps batches so small that two in flight and one more fit the target', () => {
  const { sizes, choice } = openTuner(100).runUntilChosen((rows) => 8 + rows);

  // 3 × (8 + 16) = 72 ms, 3 × (8 + 32) = 120 ms.
  expect(choice).toMatchObject({ state: 'batching', maxBatchSize: 16 });
  expect(Math.max(...sizes)).toBeLessThanOrEqual(32);
});

test('does not batch where no batch keeps to the target', () => {
  const { choice } = openTuner(10).runUntilChosen(() => 9);

  expect(choice).toMatchObject({ state: 'off', reason: 'no batch keeps to the target of 10 ms' });
});

test('is not misled by a run that is slow for once, such as the first of a size', () => {
  const seen = new Set<number>();
  const { choice } = openTuner(1000).runUntilChosen((rows) => {
    const isFirst = !seen.has(rows);
    seen.add(rows);
    return isFirst ? 500 : 1;
  });

  expect(choice).toMatchObject({ state: 'batching', maxBatchSize: 256 });
});

test('makes do with what it measured when there are never enough requests at a time for more', () => {
  const { choice } = openTuner(1000).runUntilChosen((rows) => (rows > 24 ? Number.NaN : 1), 24);

  expect(choice).toMatchObject({ state: 'batching', maxBatchSize: 16 });
});

test('goes on measuring while requests come one by one', () => {
  const { choice, sizes } = openTuner(1000).runUntilChosen(() => 1, 1);

  expect([choice, sizes]).toEqual([undefined, [1]]);
});

test('measures again after a while', () => {
  const { tuner, time, runUntilChosen } = openTuner(50);
  runUntilChosen((rows) => rows);
  const before = tuner.report().state;

  time.now += 6 * 60_000;
  const { choice } = runUntilChosen(() => 1);

  expect([before, choice?.state]).toEqual(['off', 'batching']);
});

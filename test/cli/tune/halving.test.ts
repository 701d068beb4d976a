import fc from 'fast-check';
import { expect, test } from 'vitest';
import { halve, roundsOf } from '../../../src/cli/tune/halving.ts';

const never = new AbortController().signal;

/** Candidates are numbers, and as good as they are large. */
async function measureBySize(candidate: number): Promise<{ readonly score: number }> {
  return { score: candidate };
}

test('the best of many is found, however they are ordered, for no more than the budget', async () => {
  const numbers = fc.uniqueArray(fc.integer({ min: 0, max: 1000 }), { minLength: 1, maxLength: 60 });

  await fc.assert(
    fc.asyncProperty(numbers, async (candidates) => {
      let spent = 0;
      const { best } = await halve({
        candidates,
        budgetMs: 1000,
        signal: never,
        measure: async (candidate, budgetMs) => {
          spent += budgetMs;
          return measureBySize(candidate);
        },
      });

      expect(best?.candidate).toBe(Math.max(...candidates));
      expect(spent).toBeLessThanOrEqual(1000.001);
    }),
  );
});

test('each round has the same share of the budget, and a third of the candidates goes on, the better first', async () => {
  const calls: [candidate: number, budgetMs: number, previous: number | undefined][] = [];

  const { rounds } = await halve({
    candidates: [4, 9, 1, 7, 3, 8, 2, 6, 5, 0],
    budgetMs: 300,
    signal: never,
    measure: async (candidate, budgetMs, previous: { readonly score: number } | undefined) => {
      calls.push([candidate, budgetMs, previous?.score]);
      return measureBySize(candidate);
    },
  });

  expect(rounds.map((round) => round.map(({ candidate }) => candidate))).toEqual([
    [4, 9, 1, 7, 3, 8, 2, 6, 5, 0],
    [9, 8, 7, 6],
    [9, 8],
  ]);
  expect(calls.filter(([, , previous]) => previous === undefined).every(([, budgetMs]) => budgetMs === 10)).toBe(true);
  expect(calls.slice(10)).toEqual([
    [9, 25, 9],
    [8, 25, 8],
    [7, 25, 7],
    [6, 25, 6],
    [9, 50, 9],
    [8, 50, 8],
  ]);
});

test('a candidate that only looks good in a short look is found out in a longer one', async () => {
  const { best } = await halve({
    candidates: ['steady', 'brief', 'a', 'b', 'c', 'd', 'e', 'f', 'g'],
    budgetMs: 900,
    signal: never,
    measure: async (candidate, budgetMs) => ({ score: { steady: 5, brief: budgetMs > 100 ? 1 : 10 }[candidate] ?? 0 }),
  });

  expect(best?.candidate).toBe('steady');
});

test('an abort keeps the best of what was measured so far', async () => {
  const controller = new AbortController();

  const { best, rounds } = await halve({
    candidates: [1, 5, 3, 9],
    budgetMs: 100,
    signal: controller.signal,
    measure: async (candidate) => {
      if (candidate === 3) controller.abort(new Error('enough'));
      controller.signal.throwIfAborted();
      return measureBySize(candidate);
    },
  });

  expect([best?.candidate, rounds.flat().length]).toEqual([5, 2]);
});

test('what a measurement rejects with ends the search', async () => {
  const searching = halve({ candidates: [1], budgetMs: 1, signal: never, measure: () => Promise.reject(new Error('broken')) });

  await expect(searching).rejects.toThrow('broken');
});

test('rounds grow with the logarithm of the candidates', () => {
  expect([1, 3, 4, 9, 10, 27, 28, 81].map(roundsOf)).toEqual([1, 1, 2, 2, 3, 3, 4, 4]);
});

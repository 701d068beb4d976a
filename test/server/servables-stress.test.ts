import { expect, test } from 'vitest';
import { stressServables } from '../support/servables-stress.ts';

test('versions that come, change, break and go under clients: no wrong answer, no unload under a run, nothing left in the end', async () => {
  const reports = [];
  for (let seed = 1; seed <= 8; seed++) reports.push(await stressServables(seed, { steps: 60 }));

  expect(reports.flatMap(({ violations }) => violations)).toEqual([]);
  expect(reports.reduce((sum, { answers }) => sum + answers, 0)).toBeGreaterThan(500);
  expect(reports.reduce((sum, { loads }) => sum + loads, 0)).toBeGreaterThan(50);
});

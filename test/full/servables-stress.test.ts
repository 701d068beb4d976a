import { expect, test } from 'vitest';
import { stressServables } from '../support/servables-stress.ts';

test('300 other seeds of versions that come, change, break and go under clients: no wrong answer, nothing left in the end', async () => {
  const violations: string[] = [];
  for (let seed = 1000; seed < 1300; seed++) violations.push(...(await stressServables(seed, { steps: 80 })).violations);

  expect(violations).toEqual([]);
}, 900_000);

import { expect, test } from 'vitest';
import { encodeVersions, labelOfClient, parseVersions } from '../../src/core/index.ts';

const clients = Array.from({ length: 100_000 }, (_, index) => `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`);
const shareOf = (label: string | undefined, traffic: Record<string, number>, model = 'm') =>
  (100 * clients.filter((client) => labelOfClient(traffic, model, client) === label).length) / clients.length;

test.each([{ stable: 90, canary: 10 }, { stable: 50, canary: 50 }, { a: 33.3, b: 33.3, c: 33.4 }, { canary: 1 }])(
  '100,000 clients are split within 1 % of the whole: %j',
  (traffic) => {
    let rest = 100;
    for (const [label, share] of Object.entries(traffic)) {
      expect(Math.abs(shareOf(label, traffic) - share)).toBeLessThan(1);
      rest -= share;
    }
    expect(Math.abs(shareOf(undefined, traffic) - rest)).toBeLessThan(1);
  },
);

test('a share that grows keeps the clients it had, and models are split apart from each other', () => {
  const small = clients.filter((client) => labelOfClient({ stable: 95, canary: 5 }, 'm', client) === 'canary');
  const kept = small.filter((client) => labelOfClient({ stable: 70, canary: 30 }, 'm', client) === 'canary');
  const onBoth = small.filter((client) => labelOfClient({ stable: 95, canary: 5 }, 'other', client) === 'canary');

  expect(kept).toEqual(small);
  expect(onBoth.length / small.length).toBeLessThan(0.1);
});

test('0 is nobody and 100 everybody', () => {
  expect(shareOf('canary', { stable: 100, canary: 0 })).toBe(0);
  expect(shareOf('stable', { stable: 100, canary: 0 })).toBe(100);
});

test('versions.json with more than 100 % is refused', () => {
  const bytes = encodeVersions({ schemaVersion: 1, name: 'm', versions: [], labels: {}, traffic: { stable: 95, canary: 10 } });

  expect(() => parseVersions(bytes)).toThrow(
    expect.objectContaining({ code: 'invalid-argument', message: expect.stringContaining('105 %') }),
  );
});

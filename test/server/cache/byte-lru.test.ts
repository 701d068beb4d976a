import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ByteLru } from '../../../src/server/cache/byte-lru.ts';

const forever = Number.POSITIVE_INFINITY;

test('lets the value go that was not asked for the longest', () => {
  const removed: string[] = [];
  const lru = new ByteLru<number>({ budgetBytes: 1000, onRemove: (reason) => removed.push(reason) });
  lru.set('a', 1, { bytes: 200, ttlMs: forever });
  lru.set('b', 2, { bytes: 200, ttlMs: forever });

  lru.get('a');
  lru.set('c', 3, { bytes: 200, ttlMs: forever });

  expect(['a', 'b', 'c'].map((key) => lru.get(key))).toEqual([1, undefined, 3]);
  expect(removed).toEqual(['budget']);
});

test('lets each value go after its time', () => {
  let now = 0;
  const removed: string[] = [];
  const lru = new ByteLru<number>({ budgetBytes: 10_000, now: () => now, onRemove: (reason) => removed.push(reason) });
  lru.set('short', 1, { bytes: 1, ttlMs: 10 });
  lru.set('long', 2, { bytes: 1, ttlMs: 20 });
  lru.set('none', 3, { bytes: 1, ttlMs: 0 });

  now = 9;
  const before = ['short', 'long', 'none'].map((key) => lru.get(key));
  now = 10;
  const after = ['short', 'long', 'none'].map((key) => lru.get(key));

  expect(before).toEqual([1, 2, undefined]);
  expect(after).toEqual([undefined, 2, undefined]);
  expect(removed).toEqual(['expired']);
});

test('keeps no value that is larger than the budget, and for it lets nothing else go', () => {
  const lru = new ByteLru<number>({ budgetBytes: 1000 });
  lru.set('small', 1, { bytes: 1, ttlMs: forever });

  lru.set('large', 2, { bytes: 1000, ttlMs: forever });

  expect([lru.get('small'), lru.get('large')]).toEqual([1, undefined]);
});

test('never holds more than its budget, and gives a key its latest value or none', () => {
  const step = fc.record({ key: fc.constantFrom('a', 'b', 'c', 'd'), bytes: fc.nat(800), isGet: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      let told = 0;
      const lru = new ByteLru<number>({
        budgetBytes: 1500,
        onBytes: (bytes) => {
          told = bytes;
        },
      });
      const latest = new Map<string, number>();
      for (const [index, { key, bytes, isGet }] of steps.entries()) {
        if (isGet) expect([undefined, latest.get(key)]).toContain(lru.get(key));
        else {
          lru.set(key, index, { bytes, ttlMs: forever });
          latest.set(key, index);
        }
        expect(lru.bytes).toBeLessThanOrEqual(1500);
        expect(told).toBe(lru.bytes);
      }
    }),
  );
});

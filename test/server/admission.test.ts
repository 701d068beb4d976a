import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Admission, clientOfAddress } from '../../src/server/admission.ts';

function open(limits: { maxInFlight?: number; maxInFlightPerClient?: number; rateLimitPerClient?: number } = {}) {
  let now = 0;
  const refusals: string[] = [];
  const admission = new Admission({
    maxInFlight: 100,
    maxInFlightPerClient: Number.POSITIVE_INFINITY,
    rateLimitPerClient: Number.POSITIVE_INFINITY,
    ...limits,
    metrics: { setInFlight: () => {}, recordRefusal: (reason) => refusals.push(reason) },
    now: () => now,
  });
  /** Takes as many places as it gets. */
  const fill = (client: string, most = Number.POSITIVE_INFINITY) => {
    const places: Disposable[] = [];
    try {
      while (places.length < most) places.push(admission.enter(client));
    } catch {
      // It is full for this one.
    }
    return places;
  };
  const pass = (ms: number) => {
    now += ms;
  };
  return { admission, refusals, fill, pass };
}

describe('Admission', () => {
  test('refuses as overloaded what is more than the server takes', () => {
    const { admission, refusals } = open({ maxInFlight: 3 });
    const places = ['a', 'b', 'c'].map((client) => admission.enter(client));

    expect(() => admission.enter('d')).toThrow(
      expect.objectContaining({ code: 'overloaded', details: { limit: 3, retryAfterMs: expect.any(Number) } }),
    );

    places[0]![Symbol.dispose]();
    places[0]![Symbol.dispose]();
    expect(admission.inFlight).toBe(2);
    expect(() => admission.enter('d')).not.toThrow();
    expect(refusals).toEqual(['max-in-flight']);
  });

  test('leaves places for others when one client takes all that it gets', () => {
    const { admission, fill } = open({ maxInFlight: 512 });

    const greedy = fill('greedy').length;

    expect(greedy).toBe(456); // the least n for which n >= 8 (512 - n)
    expect(() => admission.enter('greedy')).toThrow(expect.objectContaining({ code: 'overloaded' }));
    expect(() => admission.enter('other')).not.toThrow();
  });

  test('comes to equal shares as greedy clients go on', () => {
    const { admission, fill } = open({ maxInFlight: 170 });
    const places = { first: fill('first'), second: fill('second') };

    // Each gets the answer to its oldest request, and both ask again for all that they can get.
    for (let round = 0; round < 1000; round++) {
      for (const client of ['first', 'second'] as const) {
        places[client].shift()?.[Symbol.dispose]();
        places[client].push(...fill(client));
      }
    }

    expect(Math.abs(places.first.length - places.second.length)).toBeLessThanOrEqual(8);
    expect(admission.inFlight).toBeLessThan(170);
  });

  test('refuses as rate-limited what is more than one client may have in flight', () => {
    const { admission, fill, refusals } = open({ maxInFlightPerClient: 2 });

    const places = fill('a');

    expect(places).toHaveLength(2);
    expect(() => admission.enter('a')).toThrow(expect.objectContaining({ code: 'rate-limited' }));
    expect(() => admission.enter('b')).not.toThrow();
    expect(refusals).toEqual(['client-in-flight', 'client-in-flight']);
  });

  test('refuses as rate-limited what comes faster than one client may send, and says when to come again', () => {
    const { admission, fill, pass } = open({ rateLimitPerClient: 4 });
    for (const place of fill('a')) place[Symbol.dispose]();
    const refused = () => admission.enter('a');

    expect(refused).toThrow(expect.objectContaining({ code: 'rate-limited', details: { limit: 4, retryAfterMs: 250 } }));
    expect(() => admission.enter('b')).not.toThrow();
    pass(250);
    expect(fill('a')).toHaveLength(1);
    pass(60_000);
    expect(fill('a')).toHaveLength(4);
  });

  test('takes a request now and then under a rate below one a second', () => {
    const { fill, pass } = open({ rateLimitPerClient: 0.5 });

    const atOnce = fill('a').length;
    pass(1000);
    const afterOne = fill('a').length;
    pass(1000);
    const afterTwo = fill('a').length;

    expect([atOnce, afterOne, afterTwo]).toEqual([1, 0, 1]);
  });

  test('takes nothing while it drains', () => {
    const { admission } = open();
    admission.startDraining();

    expect(() => admission.enter('a')).toThrow(expect.objectContaining({ code: 'unavailable' }));
  });

  test('never has more in flight than its limits, and counts back to nothing', () => {
    const step = fc.record({ client: fc.constantFrom('a', 'b', 'c'), leaves: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), fc.integer({ min: 1, max: 20 }), (steps, maxInFlight) => {
        const { admission } = open({ maxInFlight, maxInFlightPerClient: 5 });
        const places: Record<string, Disposable[]> = { a: [], b: [], c: [] };
        for (const { client, leaves } of steps) {
          const own = places[client]!;
          try {
            if (leaves) own.pop()?.[Symbol.dispose]();
            else own.push(admission.enter(client));
          } catch {
            // Refused.
          }
          expect(admission.inFlight).toBe(Object.values(places).flat().length);
          expect(admission.inFlight).toBeLessThanOrEqual(maxInFlight);
          expect(own.length).toBeLessThanOrEqual(5);
        }
        for (const place of Object.values(places).flat()) place[Symbol.dispose]();
        expect(admission.inFlight).toBe(0);
      }),
    );
  });
});

test.each([
  ['127.0.0.1', '127.0.0.1'],
  ['::ffff:10.1.2.3', '10.1.2.3'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8::1', '2001:db8:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['unknown', 'unknown'],
])('the client at %s is %s', (address, client) => {
  expect(clientOfAddress(address)).toBe(client);
});

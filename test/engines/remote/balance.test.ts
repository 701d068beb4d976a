import { expect, test } from 'vitest';
import { NearfarError, type NearfarErrorCode, type Pin, type ServerPolicy } from '../../../src/core/index.ts';
import { createBalance } from '../../../src/engines/remote/balance.ts';
import { otherPin, pin } from '../../sdk/stand-in-workers.ts';

/** A balance on a clock that stands still and chances that the test names, over and over. */
function setUp(...chances: number[]) {
  let now = 0;
  let next = 0;
  const random = () => chances[next++ % Math.max(1, chances.length)] ?? 0;
  const balance = createBalance({ now: () => now, random });
  const fail = (server: string, code: NearfarErrorCode = 'network', options: { pin?: Pin; retryAfterMs?: number } = {}) =>
    balance.begin(server, options.pin ?? pin).failed(new NearfarError(code, 'by the test'), options.retryAfterMs);
  const order = (policy?: ServerPolicy, of: Pin = pin) => balance.order(['a', 'b', 'c'], of, policy);
  return {
    balance,
    fail,
    order,
    advance: (ms: number) => {
      now += ms;
    },
  };
}

test('round robin begins with each server in turn, the others behind it', () => {
  const { order } = setUp();

  expect([order('round-robin'), order('round-robin'), order('round-robin'), order('round-robin')].map((each) => each.join(''))).toEqual([
    'abc',
    'bca',
    'cab',
    'abc',
  ]);
});

test('of two servers taken by chance the one with fewer calls under way is asked, the others behind it by their load', () => {
  const { balance, order } = setUp(0, 0.99);
  balance.begin('a', pin);
  balance.begin('a', pin);
  balance.begin('b', pin);

  // Chance takes a, then the last of b and c.
  expect(order()).toEqual(['c', 'b', 'a']);
});

test('power of two choices spreads calls that never end evenly, and never piles them on one', () => {
  // A linear congruential generator (Numerical Recipes), so that every run is the same.
  let state = 1;
  const random = () => {
    state = (state * 1664525 + 1013904223) % 2 ** 32;
    return state / 2 ** 32;
  };
  const balance = createBalance({ now: () => 0, random });
  const counts = new Map<string, number>();
  for (let call = 0; call < 3_000; call += 1) {
    const [first = ''] = balance.order(['a', 'b', 'c'], pin, undefined);
    balance.begin(first, pin);
    counts.set(first, (counts.get(first) ?? 0) + 1);
  }

  const spread = [...counts.values()];
  expect(Math.max(...spread) - Math.min(...spread)).toBeLessThan(10);
});

test('a call that ended, however it did, is no longer under way', () => {
  const { balance, order } = setUp(0, 0);
  balance.begin('a', pin).succeeded();
  balance.begin('a', pin).abandoned();
  balance.begin('a', pin).failed(new NearfarError('invalid-argument', 'by the test'));
  balance.begin('b', pin);

  expect(order()[0]).toBe('a');
});

test('three failures in a row put a server out, one less or an answer in between does not', () => {
  const { fail, balance, order } = setUp();
  fail('a');
  fail('a');
  const before = order('in-order');
  balance.begin('a', pin).succeeded();
  fail('a');
  fail('a');
  const between = order('in-order');
  fail('a');

  expect(before).toEqual(['a', 'b', 'c']);
  expect(between).toEqual(['a', 'b', 'c']);
  expect(order('in-order')).toEqual(['b', 'c', 'a']);
});

test('after its time one trial is asked first; a failed one puts the server out for twice as long, an answer brings it back', () => {
  const { fail, balance, order, advance } = setUp();
  for (let failure = 0; failure < 3; failure += 1) fail('b');
  advance(4_999);
  const early = order('in-order');
  advance(1);
  const due = order('in-order');
  const trial = balance.begin('b', pin);
  const whileTried = order('in-order');
  trial.failed(new NearfarError('network', 'by the test'));
  advance(9_999);
  const second = order('in-order');
  advance(1);
  const dueAgain = order('in-order');
  balance.begin('b', pin).succeeded();

  expect([early, due, whileTried, second, dueAgain].map((each) => each.join(''))).toEqual(['acb', 'bac', 'acb', 'acb', 'bac']);
  expect(order('in-order')).toEqual(['a', 'b', 'c']);
});

test('the time out grows to five minutes and no further', () => {
  const { fail, order, advance } = setUp();
  const outs: number[] = [];
  for (let failure = 0; failure < 2; failure += 1) fail('a');
  for (let round = 0; round < 9; round += 1) {
    fail('a');
    let seconds = 0;
    for (; order('in-order')[0] !== 'a'; seconds += 5) advance(5_000);
    outs.push(seconds);
  }

  expect(outs).toEqual([5, 10, 20, 40, 80, 160, 300, 300, 300]);
});

test('a trial that the caller gave up leaves the next call to be the trial', () => {
  const { fail, balance, order, advance } = setUp();
  for (let failure = 0; failure < 3; failure += 1) fail('a');
  advance(5_000);
  balance.begin('a', pin).abandoned();

  expect(order('in-order')).toEqual(['a', 'b', 'c']);
});

test('a server that lacks the version comes last for this version alone, at once', () => {
  const { fail, order } = setUp();
  fail('a', 'version-mismatch');

  expect(order('in-order')).toEqual(['b', 'c', 'a']);
  expect(order('in-order', otherPin)).toEqual(['a', 'b', 'c']);
});

test('mistakes of the caller say nothing about a server', () => {
  const { fail, order } = setUp();
  for (let failure = 0; failure < 9; failure += 1) fail('a', 'shape-mismatch');

  expect(order('in-order')).toEqual(['a', 'b', 'c']);
});

test('a server that names a time is not asked before it, and a minute is the most', () => {
  const { fail, balance, order, advance } = setUp();
  fail('a', 'overloaded', { retryAfterMs: 2_000 });
  fail('b', 'rate-limited', { retryAfterMs: 3_600_000 });
  const rest = balance.rest('a');
  const busy = order('in-order');
  advance(2_000);

  expect(rest).toMatchObject({ code: 'overloaded', details: { server: 'a', retryAfterMs: 2_000 } });
  expect(busy[0]).toBe('c');
  expect(balance.rest('a')).toBeUndefined();
  expect(balance.rest('b')).toMatchObject({ code: 'rate-limited', details: { retryAfterMs: 58_000 } });
  advance(58_000);
  expect(balance.rest('b')).toBeUndefined();
});

test('retries are ten at first, then a fifth of the calls and one in ten seconds', () => {
  const { balance, advance } = setUp();
  const take = () => {
    let taken = 0;
    while (balance.takeRetry()) taken += 1;
    return taken;
  };
  const first = take();
  for (let call = 0; call < 26; call += 1) balance.countCall();
  const earned = take();
  advance(30_000);
  const later = take();
  advance(3_600_000);

  expect([first, earned, later, take()]).toEqual([10, 5, 3, 10]);
});

import { expect, test } from 'vitest';
import { NearfarError } from '../../src/core/index.ts';
import { createBreaker } from '../../src/sdk/breaker.ts';
import { createFakeClock } from './fake-clock.ts';

const options = { failureThreshold: 2, coolDownMs: 1_000 };
const error = new NearfarError('network', 'no route');

test('opens after failures in a row and not before', () => {
  const breaker = createBreaker(createFakeClock(), options);

  breaker.failed(error);
  const afterOne = breaker.state;
  breaker.succeeded();
  breaker.failed(error);
  const afterSuccess = breaker.state;
  breaker.failed(error);

  expect([afterOne, afterSuccess, breaker.state]).toEqual(['closed', 'closed', 'open']);
  expect(breaker.admit()).toBe(false);
  expect(breaker.reason).toBe(error);
});

test('lets one trial through after the cool-down; its success closes the breaker', () => {
  const clock = createFakeClock();
  const breaker = createBreaker(clock, options);
  breaker.failed(error);
  breaker.failed(error);

  clock.advance(1_000);
  const admitted = [breaker.admit(), breaker.admit()];
  breaker.succeeded();

  expect(admitted).toEqual([true, false]);
  expect(breaker.state).toBe('closed');
  expect(breaker.reason).toBeUndefined();
});

test('a trial that fails opens the breaker for another cool-down', () => {
  const clock = createFakeClock();
  const breaker = createBreaker(clock, options);
  breaker.failed(error);
  breaker.failed(error);

  clock.advance(1_000);
  breaker.admit();
  breaker.failed(error);
  clock.advance(999);
  const before = breaker.admit();
  clock.advance(1);

  expect([before, breaker.admit()]).toEqual([false, true]);
});

test('a trial that was abandoned leaves room for the next one', () => {
  const clock = createFakeClock();
  const breaker = createBreaker(clock, options);
  breaker.failed(error);
  breaker.failed(error);
  clock.advance(1_000);

  breaker.admit();
  breaker.abandoned();

  expect(breaker.admit()).toBe(true);
});

test('a last resort that fails while the breaker is open does not put off the trial', () => {
  const clock = createFakeClock();
  const breaker = createBreaker(clock, options);
  breaker.failed(error);
  breaker.failed(error);

  clock.advance(600);
  breaker.failed(error);
  clock.advance(400);

  expect(breaker.state).toBe('half-open');
});

import { expect, test } from 'vitest';
import { type Leg, type Mode, NearfarError, type Reason } from '../../src/core/index.ts';
import { createBreaker } from '../../src/sdk/breaker.ts';
import { type CallLeg, runWithFailover } from '../../src/sdk/failover.ts';
import type { Fallback } from '../../src/sdk/run-report.ts';
import { createFakeClock } from './fake-clock.ts';
import { createGate } from './stand-in-workers.ts';

const clockOptions = { failureThreshold: 2, coolDownMs: 10_000 };

/** Two scripted legs and what was asked of them. */
function setUp(mode: Mode) {
  const clock = createFakeClock();
  const asked: Leg[] = [];
  const fallbacks: (Fallback & { to: Leg })[] = [];
  const script: Record<Leg, () => Promise<string>> = { 'on-device': async () => 'near', server: async () => 'far' };
  const obstacles: Partial<Record<Leg, Reason>> = {};
  const whenReady: Record<Leg, () => Promise<void>> = { 'on-device': async () => {}, server: async () => {} };
  const legOf = (leg: Leg): CallLeg<string> => ({
    breaker: createBreaker(clock, clockOptions),
    get obstacle() {
      return obstacles[leg];
    },
    ready: () => whenReady[leg](),
    run: async () => {
      asked.push(leg);
      return script[leg]();
    },
  });
  const legs: Partial<Record<Leg, CallLeg<string>>> = {
    ...(mode === 'only-server' ? {} : { 'on-device': legOf('on-device') }),
    ...(mode === 'only-on-device' ? {} : { server: legOf('server') }),
  };
  const run = (options: { signal?: AbortSignal; deadlineAt?: number } = {}) =>
    runWithFailover({
      mode,
      legs,
      clock,
      signal: options.signal ?? new AbortController().signal,
      deadlineAt: options.deadlineAt,
      onFallback: (fallback, to) => fallbacks.push({ ...fallback, to }),
    });
  return { clock, asked, fallbacks, script, obstacles, whenReady, legs, run };
}

const failing = (code: NearfarError['code']) => async () => {
  throw new NearfarError(code, `${code} by the test`);
};

test.each([
  ['prefer-on-device', 'on-device'],
  ['only-on-device', 'on-device'],
  ['prefer-server', 'server'],
  ['only-server', 'server'],
] as const)('in mode %s a call goes to the %s leg alone and reports no fallback', async (mode, leg) => {
  const { run, asked, fallbacks } = setUp(mode);

  const result = await run();

  expect(result).toEqual({ leg, answer: leg === 'server' ? 'far' : 'near', fallback: undefined });
  expect(asked).toEqual([leg]);
  expect(fallbacks).toEqual([]);
});

test.each([
  ['prefer-on-device', 'on-device', 'server'],
  ['prefer-server', 'server', 'on-device'],
] as const)('in mode %s a %s leg that fails is followed by the %s leg, with the reason', async (mode, from, to) => {
  const { run, script, fallbacks } = setUp(mode);
  script[from] = failing('internal');

  const result = await run();

  const fallback = { from, code: 'internal', message: 'internal by the test' };
  expect(result).toMatchObject({ leg: to, fallback });
  expect(fallbacks).toEqual([{ ...fallback, to }]);
});

test.each(['only-on-device', 'only-server'] as const)('in mode %s the error surfaces and no other leg is asked', async (mode) => {
  const { run, script, asked } = setUp(mode);
  script['on-device'] = failing('out-of-memory');
  script.server = failing('out-of-memory');

  await expect(run()).rejects.toMatchObject({ code: 'out-of-memory' });
  expect(asked).toHaveLength(1);
});

test.each(['invalid-argument', 'dtype-mismatch', 'shape-mismatch', 'failed-precondition'] as const)(
  'a caller’s mistake (%s) is not tried on another leg',
  async (code) => {
    const { run, script, asked } = setUp('prefer-on-device');
    script['on-device'] = failing(code);

    await expect(run()).rejects.toMatchObject({ code });
    expect(asked).toEqual(['on-device']);
  },
);

test('when both legs fail, the error names every attempt', async () => {
  const { run, script } = setUp('prefer-on-device');
  script['on-device'] = failing('out-of-memory');
  script.server = failing('network');

  await expect(run()).rejects.toMatchObject({
    code: 'network',
    details: {
      attempts: [
        { leg: 'on-device', code: 'out-of-memory' },
        { leg: 'server', code: 'network' },
      ],
    },
  });
});

test('a device that is still opening leaves the call to the server, with its reason', async () => {
  const { run, obstacles, asked } = setUp('prefer-on-device');
  obstacles['on-device'] = { code: 'unavailable', message: 'still downloading' };

  const result = await run();

  expect(result).toMatchObject({ leg: 'server', fallback: { from: 'on-device', code: 'unavailable', message: 'still downloading' } });
  expect(asked).toEqual(['server']);
});

test('a device that is still opening is waited for when the server fails', async () => {
  const { run, obstacles, whenReady, script, asked } = setUp('prefer-on-device');
  obstacles['on-device'] = { code: 'unavailable', message: 'still downloading' };
  script.server = failing('network');
  const gate = createGate<void>();
  whenReady['on-device'] = () => gate.promise;

  const running = run();
  gate.open();

  await expect(running).resolves.toMatchObject({ leg: 'on-device', answer: 'near' });
  expect(asked).toEqual(['server', 'on-device']);
});

test('a device lost under a call with no server gets the call once more when it is back', async () => {
  const { run, script, asked } = setUp('only-on-device');
  let calls = 0;
  script['on-device'] = async () => {
    calls += 1;
    if (calls === 1) throw new NearfarError('device-lost', 'driver reset');
    return 'near again';
  };

  const result = await run();

  expect(result).toMatchObject({ answer: 'near again', fallback: { from: 'on-device', code: 'device-lost', message: 'driver reset' } });
  expect(asked).toEqual(['on-device', 'on-device']);
});

test('a device lost twice under one call is not asked a third time', async () => {
  const { run, script, asked } = setUp('only-on-device');
  script['on-device'] = failing('device-lost');

  await expect(run()).rejects.toMatchObject({ code: 'device-lost' });
  expect(asked).toHaveLength(2);
});

test('a leg that keeps failing is asked last until its cool-down is over', async () => {
  const { run, script, asked, clock } = setUp('prefer-on-device');
  script['on-device'] = failing('internal');
  await run();
  await run();
  asked.length = 0;

  const broken = await run();
  const whileOpen = asked.splice(0);
  clock.advance(10_000);
  script['on-device'] = async () => 'near';
  const healed = await run();

  expect(whileOpen).toEqual(['server']);
  expect(broken.fallback).toMatchObject({ code: 'internal', message: 'the on-device leg kept failing: internal by the test' });
  expect(healed).toMatchObject({ leg: 'on-device', fallback: undefined });
});

test('a leg that hangs gets half the deadline, then the other one answers', async () => {
  const { run, script, clock } = setUp('prefer-on-device');
  script['on-device'] = () => createGate<string>().promise;

  const running = run({ deadlineAt: 1_000 });
  clock.advance(500);

  await expect(running).resolves.toMatchObject({ leg: 'server', fallback: { code: 'deadline-exceeded' } });
  expect(clock.pending).toBe(0);
});

test('an abort rejects with the reason unchanged and asks no other leg', async () => {
  const { run, script, asked } = setUp('prefer-on-device');
  const abort = new AbortController();
  const entered = createGate<void>();
  script['on-device'] = () => {
    entered.open();
    return createGate<string>().promise;
  };
  const reason = new Error('the user left');

  const running = run({ signal: abort.signal });
  await entered.promise;
  abort.abort(reason);

  await expect(running).rejects.toBe(reason);
  expect(asked).toEqual(['on-device']);
});

test('without a server, prefer-server answers on the device and says why', async () => {
  const { run, legs } = setUp('prefer-server');
  delete legs.server;

  const result = await run();

  expect(result).toMatchObject({ leg: 'on-device', fallback: { from: 'server', code: 'unavailable', message: 'no server is configured' } });
});

test('a trial that was not needed leaves the breaker half-open for the next call', async () => {
  const { run, script, legs, clock } = setUp('prefer-on-device');
  script['on-device'] = failing('internal');
  script.server = failing('network');
  await run().catch(() => {});
  await run().catch(() => {});
  clock.advance(10_000);
  script['on-device'] = async () => 'near';

  await run();

  expect(legs.server?.breaker.state).toBe('half-open');
  expect(legs.server?.breaker.admit()).toBe(true);
});

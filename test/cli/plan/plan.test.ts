import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { build } from '../../../scripts/build.mjs';
import { planCapacity } from '../../../src/cli/plan/capacity.ts';
import { parsePlanInputs } from '../../../src/cli/plan/inputs.ts';
import { makePlan } from '../../../src/cli/plan/plan.ts';
import { describeStation, erlangC } from '../../../src/cli/plan/queueing.ts';
import { simulateFleet } from '../../../src/cli/plan/simulate.ts';
import { startServer } from '../../../src/server/index.ts';
import { copyEveryday10 } from '../../support/everyday10.ts';
import { openTempFolder } from '../../support/model-folder.ts';
import { repositoryRoot, runCommand } from '../../support/packed.ts';

/** Devices that run nothing themselves and ask one node at an even rate: a single station of queueing theory. */
function station(callsPerSecond: number, server: object) {
  return parsePlanInputs({
    devices: Math.round(callsPerSecond * 86_400),
    visitsPerDay: 1,
    callsPerVisit: 1,
    peakFactor: 1,
    classes: [{ name: 'all', share: 1, near: false }],
    server: { serviceMs: 10, maxInFlight: 100_000, ...server },
  });
}

const day = { nodes: 1, seed: 7, mostCalls: 300_000, balancing: 'random' } as const;

describe('queueing theory', () => {
  // Erlang C by the tables of e.g. Gross et al., "Fundamentals of Queueing Theory": one worker waits with probability ρ, C(2, 1) = 1/3.
  test('knows the values of the books', () => {
    const single = describeStation({ callsPerSecond: 80, serviceMs: 10, workers: 1, service: 'exponential' });
    const fixed = describeStation({ callsPerSecond: 80, serviceMs: 10, workers: 1, service: 'fixed' });

    expect([erlangC(0.8, 1), erlangC(1, 2)]).toEqual([expect.closeTo(0.8), expect.closeTo(1 / 3)]);
    // M/M/1: the time in the system is exponential with mean S/(1−ρ) = 50 ms.
    expect(single).toMatchObject({
      meanMs: expect.closeTo(50),
      p50Ms: expect.closeTo(50 * Math.log(2)),
      p99Ms: expect.closeTo(50 * Math.log(100)),
    });
    expect(single.inFlight).toBeCloseTo(4);
    // M/D/1 waits half as long: ρS/(2(1−ρ)).
    expect(fixed.meanWaitMs).toBeCloseTo(20);
  });

  test('says of too much load that it is, and that more load never waits less, nor more workers longer', () => {
    expect(describeStation({ callsPerSecond: 100, serviceMs: 10, workers: 1, service: 'fixed' })).toMatchObject({
      isOverloaded: true,
      p99Ms: Number.POSITIVE_INFINITY,
    });
    fc.assert(
      fc.property(
        fc.double({ min: 0.01, max: 0.98, noNaN: true }),
        fc.integer({ min: 1, max: 40 }),
        fc.constantFrom('fixed', 'exponential'),
        (busy, workers, service) => {
          const at = (share: number, count = workers) =>
            describeStation({ callsPerSecond: share * workers * 100, serviceMs: 10, workers: count, service });

          expect(at(busy).meanWaitMs).toBeGreaterThanOrEqual(at(busy * 0.9).meanWaitMs);
          expect(at(busy, workers + 1).meanWaitMs).toBeLessThanOrEqual(at(busy).meanWaitMs);
          expect(at(busy).p99Ms).toBeGreaterThanOrEqual(at(busy).p50Ms);
        },
      ),
    );
  });
});

describe('the simulation of one station', () => {
  const cases = [
    { callsPerSecond: 50, workers: 1, service: 'exponential' },
    { callsPerSecond: 70, workers: 1, service: 'exponential' },
    { callsPerSecond: 300, workers: 4, service: 'exponential' },
    { callsPerSecond: 70, workers: 1, service: 'fixed' },
  ] as const;

  test.each(cases)('is what theory says: $service, $workers workers, $callsPerSecond a second', ({ callsPerSecond, ...server }) => {
    const inputs = station(callsPerSecond, server);

    const simulated = simulateFleet(inputs, day);

    const exact = describeStation({ ...inputs.server, callsPerSecond });
    expect(Math.abs(simulated.meanWaitMs / exact.meanWaitMs - 1)).toBeLessThan(0.05);
    expect(Math.abs(simulated.meanServerMs / exact.meanMs - 1)).toBeLessThan(0.03);
    expect(simulated.refused).toBe(0);
  });

  test('is the same for the same seed, and another for another', () => {
    const inputs = station(50, {});
    const short = { ...day, mostCalls: 5_000 };

    expect(simulateFleet(inputs, short)).toEqual(simulateFleet(inputs, short));
    expect(simulateFleet(inputs, { ...short, seed: 8 }).meanWaitMs).not.toBe(simulateFleet(inputs, short).meanWaitMs);
  });

  test('answers from the cache in its time: (1−H)·W + H·t', () => {
    const inputs = station(60, { hitShare: 0.4, hitMs: 2 });

    const { meanServerMs } = simulateFleet(inputs, day);

    expect(Math.abs(meanServerMs / planCapacity(inputs).meanServerMs - 1)).toBeLessThan(0.05);
  });

  test('batches what waits, so that a node does what it could not one by one', () => {
    const alone = station(150, { maxInFlight: 512 });
    const batched = station(150, { maxInFlight: 512, batch: { most: 8, rowMs: 1 } });

    const [refusing, joining] = [
      simulateFleet(alone, { ...day, mostCalls: 50_000 }),
      simulateFleet(batched, { ...day, mostCalls: 50_000 }),
    ];

    expect(refusing.refused).toBeGreaterThan(1000);
    expect([joining.refused, joining.meanBatch > 1.5]).toEqual([0, true]);
  });

  test('lets the calls of nodes that go down begin again on others, and loses none where these are enough', () => {
    const inputs = station(100, { nodesDown: 1 });

    const { hours, refused, calls } = simulateFleet(inputs, { ...day, nodes: 3, mostCalls: 50_000, balancing: 'two-choices' });

    expect([hours[20]?.failedOver ?? 0, refused]).toEqual([expect.any(Number), 0]);
    expect(hours[20]?.p99Ms).toBeGreaterThan(hours[19]?.p99Ms ?? 0);
    expect(calls).toBeGreaterThan(45_000);
  });
});

describe('a plan', () => {
  const fleet = { devices: 20_000, callsPerVisit: 10, server: { serviceMs: 20, targetP99Ms: 300 } };
  const options = { seed: 1, mostCalls: 100_000 };

  test('has the nodes of its formula, whose share of near the simulated devices have, too', () => {
    const inputs = parsePlanInputs({ ...fleet, devices: 2_000_000 });
    const capacity = planCapacity(inputs);
    const { peakCallsPerSecond, nearShare } = capacity;

    const { nearShare: simulated } = simulateFleet(inputs, { ...options, nodes: capacity.nodes ?? 1, balancing: 'two-choices' });

    expect(peakCallsPerSecond).toBeCloseTo((2_000_000 * 10 * 2) / 86_400);
    expect(capacity.nodesByUtilisation).toBe(Math.ceil((peakCallsPerSecond * (1 - nearShare) * 0.02) / 0.7));
    expect(Math.abs(simulated - nearShare)).toBeLessThan(0.05);
  });

  test('needs no fewer nodes for more devices, slower calls, fewer near or fewer from the cache', () => {
    const nodes = (changes: object, server: object = {}) =>
      planCapacity(parsePlanInputs({ ...fleet, devices: 3_000_000, ...changes, server: { ...fleet.server, ...server } })).nodes ?? 0;
    const base = nodes({});

    expect(nodes({ devices: 6_000_000 })).toBeGreaterThan(base);
    expect(nodes({}, { serviceMs: 40 })).toBeGreaterThan(base);
    expect(nodes({ classes: [{ name: 'old', share: 1, near: false }] })).toBeGreaterThan(base);
    expect(nodes({}, { hitShare: 0.5 })).toBeLessThan(base);
    expect(nodes({}, { workers: 4 })).toBeLessThan(base);
  });

  test('says so where the nodes that there are do not do, and where they do', () => {
    const overloaded = makePlan(parsePlanInputs({ ...fleet, devices: 3_000_000, server: { ...fleet.server, nodes: 1 } }), options);
    const enough = makePlan(parsePlanInputs(fleet), options);

    expect([overloaded.isEnough, overloaded.simulations[0]?.refused]).toEqual([false, expect.any(Number)]);
    expect(overloaded.verdict).toMatch(/^overloaded: with 1 node workers are \d+ % busy at the peak/);
    expect(enough.isEnough).toBe(true);
    expect(enough.verdict).toMatch(/^the simulation confirms 1 node: p99 \d+ ms in the busiest hour$/);
  });

  test('takes no shares that are not 1 together, nor what it does not know', () => {
    expect(() => parsePlanInputs({ classes: [{ name: 'a', share: 0.4 }] })).toThrow(
      'the shares of the device classes are to be 1 together, they are 0.4',
    );
    expect(() => parsePlanInputs({ servers: {} })).toThrow(/servers/);
    expect(() => parsePlanInputs({ server: { hitShare: 2 } })).toThrow(/server.hitShare/);
  });
});

describe('nearfar plan', () => {
  beforeAll(async () => {
    await build();
  });
  const plan = (...args: string[]) => runCommand(process.execPath, [join(repositoryRoot, 'dist/cli/main.js'), 'plan', ...args]);

  test('takes a file and options, draws the day, and tells the same as JSON', async () => {
    await using folder = await openTempFolder();
    const file = join(folder.path, 'fleet.json');
    await writeFile(file, JSON.stringify({ devices: 50_000, server: { serviceMs: 15 } }));
    const out = join(folder.path, 'day.svg');

    const table = await plan(file, '--out', out, '--most-calls', '20000');
    const { inputs, formulas, verdict } = JSON.parse((await plan(file, '--devices', '70000', '--most-calls', '20000', '--json')).stdout);

    expect([table.status, table.stderr]).toEqual([0, '']);
    expect(table.stdout).toContain('answered near');
    expect([inputs.devices, inputs.server.serviceMs]).toEqual([70_000, 15]);
    expect(formulas.nodes).toBeGreaterThan(0);
    expect(verdict).toMatch(/^the simulation/);
  });

  test('starts from what a running server saw', async () => {
    await using folder = await openTempFolder();
    await copyEveryday10(join(folder.path, 'm'), '1');
    await using server = await startServer({
      ...{ host: '127.0.0.1', restPort: 0, grpcPort: 'off', backends: ['onnx-cpu'], engineThreads: 1, logLevel: 'silent' },
      models: [{ name: 'm', basePath: join(folder.path, 'm') }],
      cacheDir: join(folder.path, 'cache'),
    });
    await server.whenReady();
    const report = { model: 'm', version: '1', leg: 'on-device', backend: 'onnx-wasm', totalMs: 12 } as const;
    const reports = [
      { ...report, device: 'desktop' },
      { ...report, device: 'desktop' },
      { ...report, device: 'mobile' },
      { ...report, device: 'mobile', leg: 'server', backend: 'onnx-cpu' },
    ];
    await fetch(`${server.restAddress}/nearfar/v1/reports`, { method: 'POST', body: JSON.stringify({ reports }) });

    const { inputs, observed } = JSON.parse((await plan('--url', server.restAddress ?? '', '--most-calls', '5000', '--json')).stdout);

    expect(observed.devices).toEqual(
      expect.arrayContaining([
        { name: 'mobile', runs: 2, nearShare: 0.5 },
        { name: 'desktop', runs: 2, nearShare: 1 },
      ]),
    );
    expect(inputs.classes).toEqual(expect.arrayContaining([expect.objectContaining({ name: 'mobile', share: 0.5, nearShare: 0.5 })]));
  });
});

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { createTensor } from '../../src/core/index.ts';
import { publish } from '../../src/publish/index.ts';
import { type RunningServer, startServer } from '../../src/server/index.ts';
import { compareAnswers } from '../../src/server/rollout/compare-outputs.ts';
import { decide, type Evidence } from '../../src/server/rollout/decide.ts';
import type { Rollout } from '../../src/server/rollout/plan.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { scalingModel } from '../support/onnx-writer.ts';

/** On a machine that does much else. */
const soon = { timeout: 20_000 };

const startedAt = '2026-01-01T00:00:00.000Z';
const now = Date.parse(startedAt);
const minute = 60_000;

const rollout: Rollout = {
  id: 'r',
  label: 'canary',
  version: '2',
  baseline: '1',
  steps: [
    { share: 10, minutes: 10, requests: 200 },
    { share: 100, minutes: 10 },
  ],
  conditions: { maxErrorRate: 0.01, maxP99Ratio: 1.5, minAgreement: 0.99, minRequests: 100, minCompared: 50 },
  state: 'running',
  step: 0,
  startedAt,
  stepStartedAt: startedAt,
  statement: '',
};
const good: Evidence = {
  candidate: { requests: 200, errors: 0, p99Ms: 10 },
  baseline: { requests: 1800, errors: 0, p99Ms: 9 },
  shadow: { compared: 100, agreed: 100 },
};
const candidate = (changes: Partial<Evidence['candidate']>): Evidence => ({ ...good, candidate: { ...good.candidate, ...changes } });

describe('a rollout by rules', () => {
  test.each<[string, Evidence, number, string, string]>([
    ['waits for its time', good, 9, 'wait', 'version 2 at 10 % waits: 9.0 of 10 minutes'],
    ['waits for its requests', candidate({ requests: 150 }), 11, 'wait', '150 of 200 requests'],
    ['waits for shadow runs', { ...good, shadow: { compared: 49, agreed: 0 } }, 11, 'wait', '49 of 50 shadow runs'],
    [
      'waits for something to compare with',
      { ...good, baseline: { requests: 3, errors: 0, p99Ms: 1 } },
      11,
      'wait',
      '3 of 100 requests to version 1',
    ],
    [
      'goes on',
      good,
      11,
      'advance',
      'version 2 at 10 % goes on to 100 %: 200 requests with 0 errors, p99 10 ms, 100 % of 100 shadow runs agree',
    ],
    ['goes back for errors', candidate({ errors: 3 }), 1, 'rollback', 'its error rate is 1.5 % (3 of 200), at most 1 % is allowed'],
    [
      'goes back as soon as errors are too many for the least number of requests',
      candidate({ requests: 5, errors: 2 }),
      0,
      'rollback',
      '(2 of 5)',
    ],
    ['does not go back for one error among few requests', candidate({ requests: 5, errors: 1 }), 0, 'wait', '5 of 200 requests'],
    [
      'goes back for being slow',
      candidate({ p99Ms: 14 }),
      1,
      'rollback',
      'its p99 is 14 ms, 1.56 times the 9 ms of version 1; at most 1.5 times is allowed',
    ],
    ['does not judge speed by few requests', candidate({ requests: 99, p99Ms: 1_000 }), 1, 'wait', '99 of 200 requests'],
    [
      'goes back for other answers',
      { ...good, shadow: { compared: 50, agreed: 49 } },
      1,
      'rollback',
      '98 % of its 50 shadow runs agree, at least 99 % must',
    ],
    [
      'goes back where the new version cannot be loaded',
      { ...good, failure: 'no weights' },
      0,
      'rollback',
      'it cannot be loaded, no weights',
    ],
  ])('%s', (_, evidence, minutes, kind, statement) => {
    const decision = decide(rollout, evidence, now + minutes * minute);

    expect(decision).toEqual({ kind, statement: expect.stringContaining(statement) });
  });

  test('becomes stable after its last step, compared with what was measured while the version before still answered', () => {
    const last: Rollout = { ...rollout, step: 1, baselineP99Ms: 9 };
    const alone: Evidence = { ...good, baseline: { requests: 0, errors: 0, p99Ms: undefined } };

    expect(decide(last, alone, now + 11 * minute)).toMatchObject({ kind: 'promote', statement: expect.stringContaining('becomes stable') });
    expect(decide(last, { ...alone, candidate: { ...good.candidate, p99Ms: 20 } }, now).kind).toBe('rollback');
  });

  test('goes on over 0 % by its shadow runs alone', () => {
    const shadowed: Rollout = { ...rollout, steps: [{ share: 0 }, { share: 100 }] };

    expect(decide(shadowed, candidate({ requests: 0, p99Ms: undefined }), now).kind).toBe('advance');
  });
});

describe('answers of two versions', () => {
  const tolerance = { absolute: 1e-4, relative: 1e-3 };
  const scores = (...values: number[]) => ({ scores: createTensor('float32', [values.length / 2, 2], new Float32Array(values)) });

  test('agree within the tolerance, row by row on the highest class', () => {
    const found = compareAnswers(scores(0.2, 0.8, 0.5001, 0.4999), scores(0.2001, 0.7999, 0.4999, 0.5001), tolerance);

    expect(found).toMatchObject({ isWithin: true, rows: 2, sameTop: 1 });
    expect(found.maxAbsolute).toBeCloseTo(2e-4, 6);
  });

  test('of whole numbers and strings are the same or not', () => {
    const ids = (id: bigint) => ({ id: createTensor('int64', [1], new BigInt64Array([id])) });
    const names = (name: string) => ({ name: createTensor('string', [1], [new TextEncoder().encode(name)]) });

    expect(compareAnswers(ids(10_000n), ids(10_001n), tolerance)).toMatchObject({ isWithin: false, maxAbsolute: 1 });
    expect(compareAnswers(names('cat'), names('dog'), tolerance).isWithin).toBe(false);
    expect(compareAnswers(names('cat'), names('cat'), tolerance).isWithin).toBe(true);
  });

  test('of float16 may differ by its last bit', () => {
    const halves = (bits: number) => ({ y: createTensor('float16', [1], new Uint16Array([bits])) });

    expect(compareAnswers(halves(0x3c00), halves(0x3c01), { absolute: 0, relative: 0 }).isWithin).toBe(true);
    expect(compareAnswers(halves(0x3c00), halves(0x3c03), { absolute: 0, relative: 0 }).isWithin).toBe(false);
  });

  test('that lack an output, or have another shape, do not agree', () => {
    expect(compareAnswers(scores(0, 1), {}, tolerance)).toMatchObject({ isWithin: false, firstDifference: 'output scores is missing' });
    expect(compareAnswers(scores(0, 1), scores(0, 1, 0, 1), tolerance).isWithin).toBe(false);
  });
});

describe('a server', () => {
  let folder: Awaited<ReturnType<typeof openTempFolder>>;
  let server: RunningServer;
  const repository = () => join(folder.path, 'models');
  const start = async () => {
    server = await startServer({
      host: '127.0.0.1',
      restPort: 0,
      grpcPort: 'off',
      backends: ['onnx-cpu'],
      engineThreads: 1,
      modelsRoot: repository(),
      pollIntervalMs: 50,
      cacheDir: join(folder.path, 'cache'),
      historyFile: join(folder.path, 'history.sqlite'),
      logLevel: 'silent',
    });
    await server.whenReady();
    await vi.waitFor(() => expect(server.servables.status({ name: 'm' }).every(({ state }) => state === 'AVAILABLE')).toBe(true), 10_000);
  };

  beforeAll(async () => {
    folder = await openTempFolder();
    // The third one gives other answers.
    for (const [index, factor] of [2, 2.0001, -2].entries()) {
      const source = join(folder.path, `${index}.onnx`);
      await writeFile(source, scalingModel(factor));
      await publish([source], { repository: repository(), name: 'm', labels: index === 1 ? ['canary'] : [] });
    }
    await start();
  });
  afterEach(async () => {
    await ask('DELETE', 'rollout');
    await ask('DELETE', 'shadow');
  });
  afterAll(async () => {
    await server?.close();
    await folder?.[Symbol.asyncDispose]();
  });

  async function ask(method: string, path: string, body?: object) {
    const answer = await fetch(`${server.restAddress}/nearfar/v1/models/m/${path}`, {
      method,
      ...(body && { body: JSON.stringify(body) }),
    });
    return { status: answer.status, body: answer.status === 204 ? undefined : await answer.json() };
  }
  const predict = async (client = '') => {
    const answer = await fetch(`${server.restAddress}/v1/models/m:predict`, {
      method: 'POST',
      headers: { 'nearfar-client-id': client },
      body: JSON.stringify({ instances: [[1, 2, 3]] }),
    });
    return { status: answer.status, version: answer.headers.get('nearfar-model-version'), body: await answer.json() };
  };
  const many = (count: number) => Promise.all(Array.from({ length: count }, (_, index) => predict(`client ${index}`)));
  const published = async () => JSON.parse(await readFile(join(repository(), 'm', 'versions.json'), 'utf8'));
  const statements = async () => {
    const { entries } = await fetch(`${server.restAddress}/nearfar/v1/history?model=m&limit=1000`).then((answer) => answer.json());
    return entries.filter(({ action }: { action: string }) => action === 'rollout').map(({ message }: { message: string }) => message);
  };
  const goBack = (label: string, version: number) => ask('PUT', `labels/${label}`, { version });

  test('compares a version in the shadow, and says where it differs', async () => {
    const set = await ask('PUT', 'shadow', { label: 'canary', share: 100 });
    await many(5);
    const report = async () => (await ask('GET', 'shadow')).body.report;
    await expect.poll(async () => (await report()).compared, soon).toBeGreaterThanOrEqual(5);
    const agreeing = await report();
    await ask('PUT', 'shadow', { version: '3', share: 100 });
    await expect.poll(() => server.servables.status({ name: 'm', version: '3' })[0]?.state, soon).toBe('AVAILABLE');
    const answered = await many(5);
    await expect.poll(async () => (await report()).compared, soon).toBeGreaterThanOrEqual(1);
    const differing = await report();
    const metrics = await fetch(`${server.restAddress}/metrics`).then((answer) => answer.text());
    const wrong = await Promise.all([ask('PUT', 'shadow', { version: '9', share: 1 }), ask('PUT', 'shadow', { share: 1 })]);

    expect(set.status).toBe(200);
    expect(agreeing).toMatchObject({
      version: '2',
      baseline: '1',
      failed: 0,
      signatures: [{ signature: 'serving_default', topAgreement: 1 }],
    });
    expect(agreeing.agreed).toBe(agreeing.compared);
    expect(agreeing.signatures[0].maxAbsolute).toBeCloseTo(3e-4, 5);
    expect(new Set(answered.map(({ version }) => version))).toEqual(new Set(['1']));
    expect(differing).toMatchObject({ version: '3', agreed: 0, signatures: [{ topAgreement: 0, maxAbsolute: 12, maxRelative: 2 }] });
    expect(metrics).toMatch(/nearfar_shadow_runs_total\{[^}]*outcome="differed"[^}]*\} \d/);
    expect(wrong.map(({ status, body }) => [status, body.error])).toEqual([
      [400, 'versions.json of m has no version 9'],
      [400, expect.stringContaining('expected either a version or a label')],
    ]);
  });

  test('drops shadow runs where too many wait, and fails no answer for it', async () => {
    await ask('PUT', 'shadow', { label: 'canary', share: 100 });

    const answers = await many(400);

    const { report } = (await ask('GET', 'shadow')).body;
    expect(answers.every(({ status }) => status === 200)).toBe(true);
    expect(answers.every(({ body }) => body.predictions[0][2] === 6)).toBe(true);
    expect(report.dropped.busy).toBeGreaterThan(0);
    await expect.poll(async () => (await ask('GET', 'shadow')).body.report.compared, soon).toBe(400 - report.dropped.busy);
  });

  test('gives a good version its share step by step until it is stable, and says why at each', async () => {
    const steps = [
      { share: 50, requests: 10 },
      { share: 100, requests: 10 },
    ];
    const rules = { steps, conditions: { minRequests: 5, maxErrorRate: 0.1 } };
    const dry = await ask('PUT', 'rollout', { ...rules, dryRun: true });
    const untouched = await published();
    const begun = await ask('PUT', 'rollout', rules);
    const first = await published();
    const twice = await ask('PUT', 'rollout', rules);
    const versions = new Set<string | null>();
    await expect
      .poll(
        async () => {
          for (const { version } of await many(40)) versions.add(version);
          return (await ask('GET', 'rollout')).body.rollout.state;
        },
        { timeout: 20_000, interval: 200 },
      )
      .toBe('promoted');
    const last = await published();
    const told = await statements();
    const back = await ask('POST', 'labels/stable/rollback');
    const [afterwards] = await many(1);

    expect(dry.body).toMatchObject({
      dryRun: true,
      steps: [expect.stringContaining('canary 50 %, stable 50 %; after 10 requests'), expect.stringContaining('is stable')],
    });
    expect(untouched).not.toHaveProperty('traffic');
    expect(untouched).not.toHaveProperty('rollout');
    expect([begun.status, begun.body.decision.kind]).toEqual([200, 'wait']);
    expect(first).toMatchObject({ traffic: { canary: 50, stable: 50 }, rollout: { state: 'running', version: '2', baseline: '1' } });
    expect([twice.status, twice.body.error]).toEqual([400, expect.stringContaining('another one runs')]);
    expect(versions).toEqual(new Set(['1', '2']));
    expect(last).toMatchObject({ labels: { stable: '2' }, rollout: { state: 'promoted' } });
    expect(last).not.toHaveProperty('traffic');
    expect(told.slice(0, 3)).toEqual([
      expect.stringMatching(/^version 2 at 100 % becomes stable: \d+ requests with 0 errors, p99 [\d.]+ ms$/),
      expect.stringMatching(/^version 2 at 50 % goes on to 100 %: \d+ requests/),
      expect.stringContaining('another one runs'),
    ]);
    expect(told[3]).toBe('a rollout of label canary begins');
    expect([back.status, back.body.labels.stable, afterwards?.version]).toEqual([200, '1', '1']);
  });

  test('takes a version back that answers otherwise in the shadow', async () => {
    await goBack('canary', 3);
    const without = await ask('PUT', 'rollout', { steps: [{ share: 0 }, { share: 50 }], conditions: { minAgreement: 0.99 } });
    await ask('PUT', 'shadow', { label: 'canary', share: 100 });
    await ask('PUT', 'rollout', { steps: [{ share: 0 }, { share: 50 }], conditions: { minAgreement: 0.99, minCompared: 5 } });
    await expect
      .poll(
        async () => {
          await many(10);
          return (await ask('GET', 'rollout')).body.rollout.state;
        },
        { timeout: 20_000, interval: 200 },
      )
      .toBe('rolled-back');

    const [statement] = await statements();
    await goBack('canary', 2);
    expect([without.status, without.body.error]).toEqual([400, expect.stringContaining('version 3 has none')]);
    expect(statement).toMatch(/^version 3 at 0 % is taken back: 0 % of its \d+ shadow runs agree, at least 99 % must$/);
    expect((await published()).labels.stable).toBe('1');
  });

  test('takes a slow version back, and all clients have stable at the next request', async () => {
    await ask('PUT', 'rollout', { steps: [{ share: 100, minutes: 60 }], conditions: { maxP99Ms: 1e-6, minRequests: 20 } });
    const during = await many(30);
    await expect.poll(async () => (await ask('GET', 'rollout')).body.rollout.state, soon).toBe('rolled-back');
    const after = await many(30);

    expect(new Set(during.map(({ version }) => version))).toEqual(new Set(['2']));
    expect(new Set(after.map(({ version }) => version))).toEqual(new Set(['1']));
  });

  test('goes on with a rollout after a restart, and leaves one alone whose share somebody has changed', async () => {
    const begun = await ask('PUT', 'rollout', { steps: [{ share: 10, minutes: 60 }, { share: 100 }] });
    await server.close();
    await start();
    const again = await ask('GET', 'rollout');
    await ask('PUT', 'traffic', { canary: 30, stable: 70 });
    await expect.poll(async () => (await ask('GET', 'rollout')).body.rollout.state, soon).toBe('aborted');

    const [statement] = await statements();
    const { traffic } = await published();
    await ask('PUT', 'traffic', {});
    expect(again.body).toMatchObject({ rollout: { id: begun.body.rollout.id, state: 'running', step: 0 }, decision: { kind: 'wait' } });
    expect(statement).toBe('version 2 is left as it is: its share was changed');
    expect(traffic).toEqual({ canary: 30, stable: 70 });
  });

  test('ends a rollout that is aborted, and refuses rules that are none', async () => {
    await ask('PUT', 'rollout', { steps: [{ share: 10, minutes: 60 }] });
    const aborted = await ask('DELETE', 'rollout');
    const { traffic } = await published();
    const wrong = await Promise.all([
      ask('PUT', 'rollout', { steps: [{ share: 101 }] }),
      ask('PUT', 'rollout', { label: 'nightly' }),
      ask('PUT', 'rollout', { label: 'stable' }),
      ask('DELETE', 'rollout'),
    ]);

    expect(aborted.body.rollout).toMatchObject({ state: 'aborted', statement: 'version 2 is taken back by 127.0.0.1' });
    expect(traffic).toBeUndefined();
    expect(wrong.map(({ status, body }) => [status, body.error])).toEqual([
      [400, expect.stringContaining('steps.0.share')],
      [400, expect.stringContaining('no label nightly')],
      [400, expect.stringContaining('are the same version')],
      [400, 'no rollout of m runs'],
    ]);
  });
});

import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Answers } from '../../../src/server/quality/answers.ts';
import { DriftMonitors, type DriftOptions } from '../../../src/server/quality/drift.ts';
import { openTempFolder } from '../../support/model-folder.ts';

const classes = (count: number, name: string): Answers[] => [
  { kind: 'classes', output: 'y', rows: Array.from({ length: count }, () => ({ name, confidence: 0.9 })) },
];

function open(options: Partial<DriftOptions> = {}) {
  const errors: object[] = [];
  const log = { error: (fields: object) => void errors.push(fields) } as DriftOptions['log'];
  const drift = new DriftMonitors({ windowRows: 10, reference: 'first', folder: undefined, log, now: () => 0, ...options });
  const add = (version: string, answers: Answers[], digest = `sha256:${version}`) =>
    drift.add({ name: 'm', version, digest }, 's', answers);
  return { drift, add, errors };
}

test('a version is compared with the one before it where that is asked for, also when that is gone', () => {
  const { drift, add } = open({ reference: 'previous' });
  add('1', classes(10, 'a'));
  add('2', classes(10, 'b'));
  const [second, first] = drift.report('m');
  drift.forgetVersion('m', '1');
  const [alone, ...others] = drift.report('m');

  expect(first).toMatchObject({ version: '1', reference: { version: '1' } });
  expect(second).toMatchObject({ version: '2', reference: { version: '1', source: 'first' } });
  expect(second?.distances[0]).toMatchObject({ measure: 'psi', isLarge: true });
  expect(alone).toMatchObject({ version: '2', reference: { version: '1' } });
  expect(others).toEqual([]);
});

test('the answers of now are the last window and the one that is being filled: a change that is over is forgotten', () => {
  const { drift, add } = open();
  const psi = () => drift.report('m')[0]?.distances[0]?.value ?? 0;
  add('1', classes(10, 'a'));
  add('1', classes(10, 'b'));
  const changed = psi();
  add('1', classes(10, 'a'));
  add('1', classes(5, 'a'));

  expect(changed).toBeGreaterThan(1);
  expect(psi()).toBeLessThan(0.01);
  expect(drift.report('m')[0]).toMatchObject({ rows: 35, present: { rows: 15 } });
});

test('too few answers are compared with nothing', () => {
  const { drift, add } = open();
  add('1', classes(9, 'a'));

  expect(drift.report('m')).toMatchObject([{ rows: 9, present: { rows: 9 }, reference: null, distances: [] }]);
});

test('a version that was published anew under its number begins anew', () => {
  const { drift, add } = open();
  add('1', classes(20, 'a'));
  add('1', classes(5, 'b'), 'sha256:other');

  expect(drift.report('m')).toMatchObject([{ rows: 5, reference: null }]);
});

test('the first answers are kept on the disk, and what lies there that is no baseline is told and passed over', async () => {
  await using folder = await openTempFolder();
  const { add } = open({ folder: folder.path });
  add('1', classes(1, 'a'));
  // Baselines on the disk are read before first answers become one.
  await expect
    .poll(async () => {
      add('1', classes(10, 'a'));
      return readdir(join(folder.path, 'm')).catch(() => []);
    })
    .toEqual(['1.json']);
  const next = open({ folder: folder.path });
  next.add('1', classes(1, 'b'));
  await expect
    .poll(() => next.drift.report('m')[0]?.reference)
    .toMatchObject({ source: 'first', version: '1', classes: [{ name: 'a', share: 1 }] });

  await mkdir(join(folder.path, 'broken'));
  await writeFile(join(folder.path, 'broken', '1.json'), '{"format": 2}');
  next.drift.add({ name: 'broken', version: '1', digest: 'sha256:1' }, 's', classes(1, 'a'));

  await expect.poll(() => next.errors).toMatchObject([{ model: 'broken' }]);
  expect(next.drift.report('broken')).toMatchObject([{ rows: 1, reference: null }]);
});

test('many versions and classes take a bounded place', () => {
  const { drift, add } = open();
  for (let version = 1; version <= 40; version++) add(String(version), classes(10, 'a'));
  for (let name = 0; name < 3_000; name++) add('40', classes(1, String(name)));

  expect(new Set(drift.report('m').map(({ version }) => version)).size).toBe(16);
  expect(drift.report('m')[0]?.present?.kind).toBe('classes');
});

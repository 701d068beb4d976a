import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Manifest } from '../../src/core/index.ts';
import type { ServerOptions } from '../../src/server/config.ts';
import { breakGolden, copyEveryday10 } from '../support/everyday10.ts';
import { errorOf, openServingBench, predict, type ServingBench, statesOf, until } from '../support/serving.ts';

// How versions follow one another: which goes first, which is kept out, what the status says of it.

let bench: ServingBench;
beforeEach(async () => {
  bench = await openServingBench();
});
afterEach(() => bench[Symbol.asyncDispose]());

/** The server of one model, whose base folder may change; every set of states it went through. */
function openWatched(options: ServerOptions) {
  const serving = bench.open(options);
  const seen: string[] = [];
  const { setState } = serving.metrics;
  serving.metrics.setState = (model, version, state) => {
    setState(model, version, state);
    seen.push(`${version} ${state}`);
  };
  return { serving, seen };
}

/** A second signature, which clients may use. */
function addSignature(manifest: Record<string, unknown>): void {
  const { signatures, variants } = manifest as unknown as Manifest;
  signatures['classic'] = signatures['serving_default']!;
  for (const { bindings } of variants) if (bindings) bindings['classic'] = bindings['serving_default']!;
}

describe('resource-preserving', () => {
  test('a version goes before the next one loads', async () => {
    await copyEveryday10(bench.modelFolder, '1');
    const { serving, seen } = openWatched({ modelDefaults: { transition: 'resource-preserving' } });
    await serving.whenReady();
    seen.length = 0;

    await copyEveryday10(bench.modelFolder, '2');
    await until(() => statesOf(serving)['2'] === 'AVAILABLE');

    expect(seen).toEqual(['1 UNLOADING', '1 END', '2 LOADING', '2 AVAILABLE']);
  });

  test('is said for one model alone, and waits for the handles of the old version', async () => {
    await copyEveryday10(bench.modelFolder, '1');
    const model = { name: 'everyday10', basePath: bench.modelFolder, options: { transition: 'resource-preserving' } as const };
    const serving = bench.open({ modelsRoot: undefined, models: [model] });
    await serving.whenReady();
    const handle = serving.servables.lend({ name: 'everyday10' });

    await copyEveryday10(bench.modelFolder, '2');
    await until(() => statesOf(serving)['1'] === 'UNLOADING');
    const whileLent = statesOf(serving);
    handle[Symbol.dispose]();
    await until(() => statesOf(serving)['2'] === 'AVAILABLE');

    expect(whileLent).toEqual({ '1': 'UNLOADING', '2': 'START' });
  });
});

describe('availability-preserving', () => {
  test('of several versions that nobody wants any more the newest alone waits for the next one', async () => {
    for (const version of ['1', '2']) await copyEveryday10(bench.modelFolder, version);
    const model = { name: 'everyday10', basePath: bench.modelFolder, policy: { kind: 'all' } as const };
    const serving = bench.open({ modelsRoot: undefined, models: [model] });
    await until(() => statesOf(serving)['1'] === 'AVAILABLE' && statesOf(serving)['2'] === 'AVAILABLE');

    await copyEveryday10(bench.modelFolder, '3', breakGolden);
    await until(() => errorOf(serving, '3') !== '');
    for (const version of ['1', '2']) await rm(join(bench.modelFolder, version), { recursive: true });
    await until(() => statesOf(serving)['1'] === 'END');

    expect(statesOf(serving)).toMatchObject({ '2': 'AVAILABLE' });
    expect((await predict(serving)).version).toBe('2');
  });
});

test('of the versions that ended the status tells the last one alone', async () => {
  await copyEveryday10(bench.modelFolder, '1');
  const serving = bench.open();
  await serving.whenReady();

  for (const version of ['2', '3']) {
    await copyEveryday10(bench.modelFolder, version);
    await until(() => statesOf(serving)[version] === 'AVAILABLE' && statesOf(serving)[String(Number(version) - 1)] === 'END');
  }

  expect(statesOf(serving)).toEqual({ '3': 'AVAILABLE', '2': 'END' });
});

describe('a version whose signatures clients of the one before cannot use', () => {
  test('is served and reported: in its status and in the metrics', async () => {
    await copyEveryday10(bench.modelFolder, '1', addSignature);
    const serving = bench.open();
    await serving.whenReady();

    await copyEveryday10(bench.modelFolder, '2');
    await until(() => statesOf(serving)['2'] === 'AVAILABLE');

    expect(serving.servables.status({ name: 'everyday10', version: '2' })).toMatchObject([
      {
        errorCode: 0,
        errorMessage: expect.stringContaining('clients of version 1 cannot use version 2 unchanged: signature classic is gone'),
      },
    ]);
    expect(await serving.metrics.registry.metrics()).toContain(
      'nearfar_signature_changes_total{model="everyday10",version="2",outcome="reported"} 1',
    );
  });

  test.each(['availability-preserving', 'resource-preserving'] as const)(
    'is not loaded where that is refused (%s), and the other one serves on',
    async (transition) => {
      await copyEveryday10(bench.modelFolder, '1', addSignature);
      const serving = bench.open({ modelDefaults: { transition, signatureChange: 'refuse' } });
      await serving.whenReady();

      await copyEveryday10(bench.modelFolder, '2');
      await until(() => statesOf(serving)['2'] === 'END');

      expect(statesOf(serving)).toEqual({ '1': 'AVAILABLE', '2': 'END' });
      expect(serving.servables.status({ name: 'everyday10', version: '2' })).toMatchObject([
        { errorCode: 9, errorMessage: expect.stringContaining('signature classic is gone') },
      ]);
      expect((await predict(serving)).version).toBe('1');
      // One that they can use takes over from both.
      await copyEveryday10(bench.modelFolder, '3', addSignature);
      await until(() => statesOf(serving)['3'] === 'AVAILABLE' && statesOf(serving)['1'] !== 'AVAILABLE');
      expect((await predict(serving)).version).toBe('3');
    },
  );
});

test('a directory that is written anew with other signatures is compared with what it was', async () => {
  await copyEveryday10(bench.modelFolder, '1', addSignature);
  const serving = bench.open({ modelDefaults: { signatureChange: 'refuse' } });
  await serving.whenReady();
  const { digest } = await predict(serving);

  await copyEveryday10(bench.modelFolder, '1');
  const refused = 'nearfar_signature_changes_total{model="everyday10",version="1",outcome="refused"} 1';
  await vi.waitUntil(async () => (await serving.metrics.registry.metrics()).includes(refused), { interval: 20, timeout: 30_000 });

  expect((await predict(serving)).digest).toBe(digest);
});

test('a version that comes back stays in the metrics when the one that it replaces goes', async () => {
  for (const version of ['1', '2']) await copyEveryday10(bench.modelFolder, version);
  const model = (version: string) => ({
    name: 'everyday10',
    basePath: bench.modelFolder,
    policy: { kind: 'specific', versions: [version] } as const,
  });
  const serving = bench.open({ modelsRoot: undefined, models: [model('1')] });
  await serving.whenReady();

  for (const [version, before] of [
    ['2', '1'],
    ['1', '2'],
  ] as const) {
    await serving.models.put(model(version));
    await until(() => statesOf(serving)[version] === 'AVAILABLE' && statesOf(serving)[before] === 'END');
  }

  expect(await serving.metrics.registry.metrics()).toContain('nearfar_servable_state{model="everyday10",version="1"} 30');
});

test('a load that fails says which attempt it was and when the next one follows', async () => {
  await copyEveryday10(bench.modelFolder, '1', breakGolden);
  const serving = bench.open();

  await until(() => statesOf(serving)['1'] !== undefined && errorOf(serving, '1').includes('attempt 3'));

  expect(errorOf(serving, '1')).toMatch(/\(attempt 3, the next one 0.04 s later\)$/);
});

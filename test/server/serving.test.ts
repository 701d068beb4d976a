import { cp, mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { compareOutputs, NearfarError } from '../../src/core/index.ts';
import type { ServableSpec } from '../../src/server/servables/index.ts';
import { breakGolden, copyEveryday10 } from '../support/everyday10.ts';
import { writeVersionsFile } from '../support/model-folder.ts';
import {
  errorOf,
  golden,
  goldenInputs,
  goldenTolerance,
  openServingBench,
  predict,
  publishedVersions,
  type ServingBench,
  statesOf,
  until,
} from '../support/serving.ts';

let bench: ServingBench;

beforeEach(async () => {
  bench = await openServingBench();
});

afterEach(() => bench[Symbol.asyncDispose]());

describe('a version', () => {
  test('is loaded, reproduces its golden example and answers by number, label, digest and name alone', async () => {
    await copyEveryday10(bench.modelFolder, '1');
    const serving = bench.open();
    await serving.whenReady();

    const byName = await predict(serving);
    const byNumber = await predict(serving, { version: '1', digest: byName.digest });
    const byDigest = await predict(serving, { digest: byName.digest });

    expect(compareOutputs(golden.outputs, byName.outputs, goldenTolerance)).toMatchObject({ isWithin: true });
    expect(byName).toMatchObject({
      version: '1',
      backend: 'onnx-cpu',
      timing: { queueMs: expect.any(Number), inferMs: expect.any(Number) },
    });
    expect(byNumber.outputs).toEqual(byName.outputs);
    expect(byDigest.version).toBe('1');
    expect(statesOf(serving)).toEqual({ '1': 'AVAILABLE' });
    expect(serving.servables.status({ name: 'everyday10', version: '1' })).toEqual([
      { version: '1', digest: byDigest.digest, state: 'AVAILABLE', errorCode: 0, errorMessage: '' },
    ]);
  });

  test('is not found with the texts of TensorFlow Serving', async () => {
    await copyEveryday10(bench.modelFolder, '1');
    const serving = bench.open();
    await serving.whenReady();
    const refusal = (spec: ServableSpec) => {
      try {
        serving.servables.lend(spec)[Symbol.dispose]();
        return undefined;
      } catch (error) {
        return error instanceof NearfarError ? `${error.code}: ${error.message}` : error;
      }
    };

    expect(refusal({ name: 'none' })).toBe('not-found: Servable not found for request: Latest(none)');
    expect(refusal({ name: 'everyday10', version: '5' })).toBe('not-found: Servable not found for request: Specific(everyday10, 5)');
    expect(refusal({ name: 'everyday10', label: 'l' })).toBe('invalid-argument: Unrecognized servable version label: l');
    expect(refusal({ name: 'everyday10', digest: `sha256:${'0'.repeat(64)}` })).toMatch(/^version-mismatch: /);
    expect(() => serving.servables.status({ name: 'none' })).toThrow('Could not find any versions of model none');
  });

  test.each(['tfjs-wasm', 'tfjs-cpu'] as const)('is loaded on %s when that is asked for', async (backend) => {
    await copyEveryday10(bench.modelFolder, '1');
    const serving = bench.open({ backends: [backend] });
    await serving.whenReady();

    const answer = await predict(serving);

    expect(answer.backend).toBe(backend);
    expect(compareOutputs(golden.outputs, answer.outputs, goldenTolerance)).toMatchObject({ isWithin: true });
  });

  test('is loaded on a GPU made of software only when that is allowed', async ({ skip }) => {
    await copyEveryday10(bench.modelFolder, '1');
    const refusing = bench.open({ backends: ['tfjs-webgpu', 'onnx-cpu'] });
    await refusing.whenReady();
    const refused = await predict(refusing);
    skip(refused.backend === 'tfjs-webgpu', 'a GPU adapter of hardware is here');
    const allowing = bench.open({ backends: ['tfjs-webgpu', 'onnx-cpu'], allowSoftwareAdapter: true });
    await allowing.whenReady();

    const allowed = await predict(allowing);

    skip(allowed.backend !== 'tfjs-webgpu', 'Dawn finds no GPU adapter here, not even one made of software');
    expect(refused.backend).toBe('onnx-cpu');
    expect(compareOutputs(golden.outputs, allowed.outputs, goldenTolerance)).toMatchObject({ isWithin: true });
  });

  test('whose golden example one backend does not reproduce is loaded on the next one, and the metrics say so', async () => {
    await copyEveryday10(bench.modelFolder, '1', (manifest) => {
      const variants = manifest['variants'] as { format: string; tolerance: object }[];
      for (const variant of variants) if (variant.format === 'onnx') variant.tolerance = { absolute: 0, relative: 0 };
    });
    const serving = bench.open({ backends: ['onnx-cpu', 'tfjs-wasm'] });
    await serving.whenReady();

    expect((await predict(serving)).backend).toBe('tfjs-wasm');
    const text = await serving.metrics.registry.metrics();
    expect(text).toMatch(
      /nearfar_load_seconds_count\{model="everyday10",version="1",engine="onnx",backend="onnx-cpu",outcome="skipped"\} 1/,
    );
    expect(text).toMatch(
      /nearfar_load_seconds_count\{model="everyday10",version="1",engine="tfjs",backend="tfjs-wasm",outcome="loaded"\} 1/,
    );
  });

  test('runs the variant that is preferred, else the first one', async () => {
    const twin = (manifest: Record<string, unknown>) => {
      const variants = manifest['variants'] as { id: string; format: string }[];
      manifest['variants'] = [...variants, ...variants.filter(({ format }) => format === 'onnx').map((onnx) => ({ ...onnx, id: 'twin' }))];
    };
    await copyEveryday10(bench.modelFolder, '1', twin);
    const [preferring, asItIs] = [bench.open({ variants: ['nobody', 'twin'] }), bench.open()];
    await Promise.all([preferring.whenReady(), asItIs.whenReady()]);

    using preferred = preferring.servables.lend({ name: 'everyday10' });
    using first = asItIs.servables.lend({ name: 'everyday10' });

    expect([preferred.variant, first.variant]).toEqual(['twin', 'onnx-float32']);
  });

  test('with a broken file is refused, shown with the reason, and loaded after the repair', async () => {
    await copyEveryday10(bench.modelFolder, '1');
    const weights = join(bench.modelFolder, '1/tfjs/weights.bin');
    await cp(weights, join(bench.folder, 'good.bin'));
    await writeFile(weights, new Uint8Array((await stat(weights)).size));
    const serving = bench.open();
    await until(() => statesOf(serving)['1'] === 'LOADING' && errorOf(serving, '1') !== '');
    const refused = { error: errorOf(serving, '1'), isReady: serving.servables.isReady() };

    await rename(join(bench.folder, 'good.bin'), weights);
    await serving.whenReady();

    // The server runs the ONNX variant, but a version with any broken file is none.
    expect(refused).toEqual({ error: expect.stringMatching(/tfjs\/weights.bin .* has digest .* the manifest says/), isReady: false });
    expect(serving.servables.status({ name: 'everyday10' })[0]).toMatchObject({ state: 'AVAILABLE', errorCode: 0, errorMessage: '' });
  });

  test('is given up after the retries that are allowed', async () => {
    await copyEveryday10(bench.modelFolder, '1', breakGolden);
    const serving = bench.open({ maxLoadRetries: 1 });

    await until(() => statesOf(serving)['1'] === 'END');

    expect(serving.servables.status({ name: 'everyday10' })[0]).toMatchObject({
      errorMessage: expect.stringContaining('golden example 0'),
    });
  });
});

test('the UUID of a version for ML Metadata is in the metrics', async () => {
  await copyEveryday10(join(bench.folder, 'made'), '1');
  await mkdir(join(bench.folder, 'made/1/assets.extra'));
  await writeFile(join(bench.folder, 'made/1/assets.extra/mlmd_uuid'), 'a-uuid\n');
  await mkdir(join(bench.folder, 'models'), { recursive: true });
  await rename(join(bench.folder, 'made'), bench.modelFolder);
  const serving = bench.open();

  await serving.whenReady();

  const line = ':tensorflow:serving:mlmd_map{model_name="everyday10",version="1",uuid="a-uuid"} 1';
  await vi.waitFor(async () => expect(await serving.metrics.registry.metrics()).toContain(line));
});

describe('a swap', () => {
  test('to a new version loses no request', async () => {
    await copyEveryday10(bench.modelFolder, '1');
    const serving = bench.open();
    await serving.whenReady();
    const answered = new Map<string, number>();
    let isDone = false;
    const clients = Array.from({ length: 4 }, async () => {
      while (!isDone) {
        const { version, outputs } = await predict(serving);
        expect(compareOutputs(golden.outputs, outputs, goldenTolerance).isWithin).toBe(true);
        answered.set(version, (answered.get(version) ?? 0) + 1);
      }
    });

    await copyEveryday10(bench.modelFolder, '2');
    await until(() => statesOf(serving)['1'] === 'END' && (answered.get('2') ?? 0) > 20);
    isDone = true;
    await Promise.all(clients);

    expect([...answered.keys()].sort()).toEqual(['1', '2']);
    expect(statesOf(serving)).toEqual({ '1': 'END', '2': 'AVAILABLE' });
  });

  test('waits for the handles of the old version', async () => {
    await copyEveryday10(bench.modelFolder, '1');
    const serving = bench.open();
    await serving.whenReady();
    const handle = serving.servables.lend({ name: 'everyday10' });

    await copyEveryday10(bench.modelFolder, '2');
    await until(() => statesOf(serving)['1'] === 'UNLOADING');
    const late = await handle.run({ signature: 'serving_default', inputs: goldenInputs() }, {});
    handle[Symbol.dispose]();
    handle[Symbol.dispose]();
    await until(() => statesOf(serving)['1'] === 'END');

    expect(compareOutputs(golden.outputs, late.outputs, goldenTolerance).isWithin).toBe(true);
    await expect(handle.run({ signature: 'serving_default', inputs: goldenInputs() }, {})).rejects.toMatchObject({
      code: 'failed-precondition',
    });
  });

  test('to a broken version never happens: the working one stays', async () => {
    await copyEveryday10(bench.modelFolder, '1');
    const serving = bench.open();
    await serving.whenReady();

    await copyEveryday10(bench.modelFolder, '2', breakGolden);
    await until(() => errorOf(serving, '2').includes('golden'));

    expect(statesOf(serving)).toEqual({ '1': 'AVAILABLE', '2': 'LOADING' });
    expect((await predict(serving)).version).toBe('1');
    expect(serving.servables.isReady()).toBe(true);
  });

  test('of a label waits until its version is available', async () => {
    for (const version of ['1', '2']) await copyEveryday10(bench.modelFolder, version);
    const digests = await publishedVersions(bench.modelFolder, ['1', '2']);
    await writeVersionsFile(bench.modelFolder, 'everyday10', digests, { stable: '1' });
    const serving = bench.open();
    await serving.whenReady();
    await until(() => statesOf(serving)['1'] === 'AVAILABLE' && statesOf(serving)['2'] === 'AVAILABLE');
    const before = await predict(serving, { label: 'stable' });

    await copyEveryday10(bench.modelFolder, '3');
    await writeVersionsFile(bench.modelFolder, 'everyday10', await publishedVersions(bench.modelFolder, ['1', '2', '3']), { stable: '3' });
    const answers: string[] = [];
    await until(() => {
      const handle = serving.servables.lend({ name: 'everyday10', label: 'stable' });
      answers.push(handle.version);
      handle[Symbol.dispose]();
      return statesOf(serving)['1'] === 'END' || statesOf(serving)['1'] === undefined;
    });

    expect(before).toMatchObject({ version: '1', labels: ['stable'] });
    expect([...new Set(answers)]).toEqual(['1', '3']);
    expect((await predict(serving, { label: 'stable' })).version).toBe('3');
  });

  test('to a broken version leaves the label, for requests and in what the server says of it, where it was', async () => {
    await copyEveryday10(bench.modelFolder, '1');
    await writeVersionsFile(bench.modelFolder, 'everyday10', await publishedVersions(bench.modelFolder, ['1']), { stable: '1' });
    const serving = bench.open();
    await serving.whenReady();

    await copyEveryday10(bench.modelFolder, '2', breakGolden);
    await writeVersionsFile(bench.modelFolder, 'everyday10', await publishedVersions(bench.modelFolder, ['1', '2']), { stable: '2' });
    await until(() => errorOf(serving, '2') !== '');

    expect(serving.servables.labels('everyday10')).toEqual({ stable: '1' });
    expect(await predict(serving, { label: 'stable' })).toMatchObject({ version: '1', labels: ['stable'] });
  });

  test('to nothing unloads: an empty folder has no versions', async () => {
    await copyEveryday10(bench.modelFolder, '1');
    const serving = bench.open({ modelsRoot: undefined, models: [{ name: 'everyday10', basePath: bench.modelFolder }] });
    await serving.whenReady();

    await rm(join(bench.modelFolder, '1'), { recursive: true });
    await until(() => statesOf(serving)['1'] === 'END');

    expect(serving.servables.isReady()).toBe(false);
    expect(() => serving.servables.lend({ name: 'everyday10' })).toThrow('Latest(everyday10)');
  });
});

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { type Pixels, parseManifest } from '../../src/core/index.ts';
import { type PublishOptions, publish, verify } from '../../src/publish/index.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { noise } from '../support/small-repository.ts';

const builtIn = fileURLToPath(new URL('../../models/everyday10/1', import.meta.url));
const tfjs = join(builtIn, 'tfjs');
const labels = new Uint8Array(await readFile(join(builtIn, 'labels.txt')));
const everyday10 = { name: 'everyday10', task: { task: 'image-classification', labels } } as const satisfies Partial<PublishOptions>;

const samples: Pixels[] = [1, 2, 3].map((seed) => ({ width: 40, height: 48, channels: 3, data: noise(40 * 48 * 3, seed) }));

/** Enough noise that some pictures have two best classes but for rounding. */
const nearTies: Pixels[] = Array.from({ length: 200 }, (_, i) => ({ width: 32, height: 32, channels: 3, data: noise(3072, 100 + i) }));

describe('variants of less precision', () => {
  test('are measured against float32 on golden examples and samples, also where float32 itself is not published', async () => {
    await using repository = await openTempFolder();

    const { manifest, measures, speeds, skipped } = await publish([tfjs], {
      ...everyday10,
      repository: repository.path,
      precisions: ['float16', 'uint8'],
      samples,
    });

    expect(skipped).toEqual([]);
    expect(manifest.variants.map(({ id }) => id)).toEqual(['tfjs-float32', 'tfjs-float16', 'tfjs-uint8', 'onnx-float16', 'onnx-uint8']);
    expect(measures.map(({ variant, reference }) => [variant, reference])).toEqual([
      ['tfjs-float16', 'tfjs-float32'],
      ['tfjs-uint8', 'tfjs-float32'],
      ['onnx-float16', 'onnx-float32'],
      ['onnx-uint8', 'onnx-float32'],
    ]);
    for (const { examples, absolute, top1, bytesRatio, variant } of measures) {
      expect(examples).toBe(2 + samples.length);
      expect(absolute).toBeGreaterThan(0);
      expect(absolute).toBeLessThan(0.1);
      expect(top1).toBeGreaterThan(0.5);
      expect(bytesRatio).toBeLessThan(variant.endsWith('uint8') ? 0.4 : 0.6);
    }
    // The hidden float32 leaves nothing behind.
    expect(Object.keys(manifest.files).filter((path) => path.startsWith('onnx'))).toEqual(['onnx/model.onnx', 'onnx-uint8/model.onnx']);
    expect((await readdir(join(repository.path, 'everyday10/1'))).sort()).toEqual(
      expect.arrayContaining(['onnx', 'onnx-uint8', 'tfjs', 'tfjs-float16', 'tfjs-uint8']),
    );
    expect(new Set(speeds.map(({ variant, backend }) => `${variant} ${backend}`))).toContain('tfjs-uint8 tfjs-wasm');
    expect(speeds.some(({ backend }) => backend === 'tfjs-cpu')).toBe(false);
    expect(speeds[0]).toMatchObject({ variant: 'tfjs-float32', reference: { variant: 'tfjs-float32', backend: 'tfjs-wasm' }, ratio: 1 });
    const report = JSON.parse(await readFile(join(repository.path, 'everyday10/1/report.json'), 'utf8'));
    expect(report.speeds).toEqual(speeds);
    expect(report.measures).toEqual(measures);
    await verify(repository.path, 'everyday10', '1');
  });

  test('are left out where they agree too rarely, and everything made and chosen is in the provenance', async () => {
    await using repository = await openTempFolder();
    const options = { ...everyday10, repository: repository.path, precisions: ['uint8'], formats: ['tfjs-graph'] } as const;

    const { manifest, measures, skipped } = await publish([tfjs], { ...options, samples: nearTies, minAgreement: 1 });

    expect(measures[0]?.top1).toBeLessThan(1);
    expect(skipped).toMatchObject([
      { variant: 'tfjs-uint8', code: 'self-test-failed', message: expect.stringContaining('wanted are 100.0 %') },
    ]);
    expect(manifest.variants.map(({ id }) => id)).toEqual(['tfjs-float32']);
    expect(Object.keys(manifest.files).some((path) => path.startsWith('tfjs-uint8'))).toBe(false);
    expect(manifest.provenance?.['options']).toMatchObject({ precisions: ['uint8'], formats: ['tfjs-graph'], minAgreement: 1 });
  });

  test('nothing measured is in the manifest: publishing again gives the same digest', async () => {
    await using repository = await openTempFolder();
    const options = { ...everyday10, version: '1', precisions: ['float32', 'uint8'], formats: ['onnx'] } as const;

    const first = await publish([tfjs], { ...options, repository: join(repository.path, 'a') });
    const second = await publish([tfjs], { ...options, repository: join(repository.path, 'b') });

    expect(second.pin).toEqual(first.pin);
    const manifest = await readFile(join(repository.path, 'a/everyday10/1/manifest.json'), 'utf8');
    for (const word of ['ratio', 'medianMs', 'top1', 'durationMs', 'bytesRatio']) expect(manifest).not.toContain(word);
  });
});

describe('pruning', () => {
  test('writes a GraphModel anew, says how sparse it is and that it compresses better', async () => {
    await using repository = await openTempFolder();

    const { manifest, pruning, measures } = await publish([tfjs], {
      ...everyday10,
      repository: repository.path,
      precisions: ['float32', 'uint8'],
      formats: ['tfjs-graph'],
      prune: 0.4,
      samples,
    });

    expect(manifest.variants.map(({ id }) => id)).toEqual(['tfjs-float32', 'tfjs-uint8']);
    expect(manifest.provenance?.['options']).toMatchObject({ prune: 0.4 });
    expect(pruning).toMatchObject({ backend: 'tfjs-wasm', examples: 5 });
    expect(pruning?.sparsity).toBeCloseTo(0.4, 2);
    expect(pruning?.absolute).toBeGreaterThan(0);
    expect(pruning?.variants.map(({ variant }) => variant)).toEqual(['tfjs-float32', 'tfjs-uint8']);
    const [full, bytes] = pruning?.variants.map(({ compressedBytes: { before, after } }) => after / before) ?? [];
    expect(full).toBeLessThan(0.8);
    expect(bytes).toBeLessThan(1);
    expect(pruning?.variants.map(({ isSmaller }) => isSmaller)).toEqual([true, true]);
    // Less precision is held against the pruned model, whose right answers are its own.
    expect(measures).toMatchObject([{ variant: 'tfjs-uint8', reference: 'tfjs-float32' }]);
    const published = parseManifest(new Uint8Array(await readFile(join(repository.path, 'everyday10/1/manifest.json'))));
    const weights = new Uint8Array(await readFile(join(repository.path, 'everyday10/1/tfjs/weights.bin')));
    const floats = new Float32Array(weights.buffer);
    expect(floats.filter((value) => value === 0).length / floats.length).toBeGreaterThan(0.38);
    expect(published.files['tfjs/weights.bin']?.bytes).toBe(weights.byteLength);
    await verify(repository.path, 'everyday10', '1');
  });

  test('publishes nothing where the pruned model answers otherwise too often', async () => {
    await using repository = await openTempFolder();

    const publishing = publish([tfjs], { ...everyday10, repository: join(repository.path, 'out'), prune: 0.97, samples, minAgreement: 1 });

    await expect(publishing).rejects.toMatchObject({ code: 'self-test-failed', message: expect.stringContaining('pruned') });
    await expect(readdir(join(repository.path, 'out'))).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { build } from '../../scripts/build.mjs';
import { digestOf, parseOnnxModel, parseTfjsGraphModel } from '../../src/core/index.ts';
import type { ConvertReport } from '../../src/publish/index.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { scalingModel } from '../support/onnx-writer.ts';
import { repositoryRoot, runCommand } from '../support/packed.ts';

beforeAll(async () => {
  await build();
});

const fixtures = join(repositoryRoot, 'test/fixtures');
const savedModel = join(fixtures, 'savedmodel/resource_variables');

describe('convert', () => {
  test('writes both formats of a SavedModel and says what they are', async () => {
    await using folder = await openTempFolder();
    const out = join(folder.path, 'converted');

    const report = await convert(savedModel, '--out', out, '--signature', 'serving_default');

    expect(report).toMatchObject({ source: 'saved-model', out, skipped: [] });
    expect((await readdir(out, { recursive: true })).sort()).toEqual(
      ['onnx', 'onnx/model.onnx', 'tfjs', 'tfjs/model.json', 'tfjs/weights.bin'].map((path) => join(path)),
    );
    const onnx = parseOnnxModel(await bytesOf(join(out, 'onnx/model.onnx')));
    const tfjs = parseTfjsGraphModel(await bytesOf(join(out, 'tfjs/model.json')));
    const [ofTfjs, ofOnnx] = report.formats;
    expect(ofTfjs).toMatchObject({ format: 'tfjs', precision: 'float32', ops: tfjs.ops });
    expect(ofOnnx).toMatchObject({ format: 'onnx', ops: onnx.ops, files: { 'onnx/model.onnx': ofOnnx?.bytes } });
    const { inputs } = ofOnnx!.bindings['serving_default']!;
    expect(Object.values(inputs).map(({ tensor }) => tensor)).toEqual(Object.keys(onnx.inputs));
  });

  test('writes signatures with other inputs into the GraphModel, and says that ONNX has no place for them', async () => {
    await using folder = await openTempFolder();

    const report = await convert(savedModel, '--out', join(folder.path, 'out'));

    expect(report.formats.map(({ format }) => format)).toEqual(['tfjs']);
    expect(Object.keys(report.formats[0]!.bindings)).toEqual(['regress', 'rows', 'rows_of', 'serving_default']);
    expect(report.formats[0]!.unusable).toEqual({ counted: [expect.stringContaining('AssignAddVariableOp')] });
    expect(report.skipped).toMatchObject([{ format: 'onnx', message: expect.stringContaining('one set of inputs') }]);
  });

  test('gives the same bytes in two processes', async () => {
    await using folder = await openTempFolder();
    const digests = async (out: string) => {
      const report = await convert(savedModel, '--out', join(folder.path, out));
      const paths = report.formats.flatMap(({ files }) => Object.keys(files));
      return Promise.all(paths.map(async (path) => [path, await digestOf(await bytesOf(join(folder.path, out, path)))]));
    };

    expect(await digests('a')).toEqual(await digests('b'));
  });

  test('writes the formats and the precision that are asked for', async () => {
    await using folder = await openTempFolder();
    const model = join(repositoryRoot, 'models/everyday10/1/tfjs');

    const whole = await convert(model, '--out', join(folder.path, 'whole'), '--formats', 'onnx');
    const small = await convert(model, '--out', join(folder.path, 'small'), '--formats', 'onnx', '--precision', 'uint8');

    expect(whole.formats.map(({ format, precision }) => [format, precision])).toEqual([['onnx', 'float32']]);
    expect(small.formats.map(({ format, precision }) => [format, precision])).toEqual([['onnx', 'uint8']]);
    expect(small.formats[0]!.bytes).toBeLessThan(whole.formats[0]!.bytes * 0.3);
  });

  test('--optimize none leaves the operators that it would fold', async () => {
    await using folder = await openTempFolder();
    const model = join(fixtures, 'keras/convolution.keras');

    const all = await convert(model, '--out', join(folder.path, 'all'), '--formats', 'tfjs');
    const none = await convert(model, '--out', join(folder.path, 'none'), '--formats', 'tfjs', '--optimize', 'none');

    const fused = (report: ConvertReport) => report.formats[0]!.ops.filter((op) => /Fused(Conv2D|DepthwiseConv2dNative)$/.test(op));
    expect(fused(all)).not.toEqual([]);
    expect(fused(none)).toEqual([]);
  });

  test('writes a format without the signatures that it cannot express, and no format without any', async () => {
    await using folder = await openTempFolder();
    const out = join(folder.path, 'out');

    const report = await convert(join(fixtures, 'savedmodel/text'), '--out', out);

    expect(report.formats.map(({ format }) => format)).toEqual(['tfjs']);
    expect(report.skipped).toMatchObject([{ format: 'onnx', code: 'unsupported' }]);
    expect(await readdir(out)).toEqual(['tfjs']);
  });

  test('stores the weights of an ONNX file in fewer bits, and says why it makes no GraphModel of it', async () => {
    await using folder = await openTempFolder();
    const model = join(repositoryRoot, 'models/everyday10/1/onnx/model.onnx');

    const report = await convert(model, '--out', join(folder.path, 'out'), '--precision', 'uint8');

    const { size } = await import('node:fs/promises').then(({ stat }) => stat(model));
    expect(report.formats).toMatchObject([{ format: 'onnx', precision: 'uint8' }]);
    expect(report.formats[0]!.bytes).toBeLessThan(size * 0.4);
    expect(report.skipped).toMatchObject([{ format: 'tfjs', code: 'unsupported' }]);
  });
});

describe('convert refuses', () => {
  test('a folder that holds something, and leaves it as it is', async () => {
    await using folder = await openTempFolder();
    await writeFile(join(folder.path, 'mine.txt'), 'mine');

    const { status, stdout } = await nearfar('convert', savedModel, '--out', folder.path, '--json');

    expect(status).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'already-exists', details: { out: folder.path } } });
    expect(await readdir(folder.path)).toEqual(['mine.txt']);
  });

  test('what cannot be written in a wanted format, and leaves nothing behind', async () => {
    await using folder = await openTempFolder();
    await writeFile(join(folder.path, 'a.onnx'), scalingModel(2));
    const out = join(folder.path, 'out');

    const { status, stdout } = await nearfar('convert', join(folder.path, 'a.onnx'), '--out', out, '--formats', 'tfjs', '--json');

    expect(status).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'unsupported', details: { skipped: [{ format: 'tfjs' }] } } });
    expect(await readdir(folder.path)).toEqual(['a.onnx']);
  });

  test('a model whose weights are damaged, found while they are written, and leaves nothing behind', async () => {
    await using folder = await openTempFolder();
    const model = join(folder.path, 'model');
    await mkdir(model);
    for (const name of await readdir(savedModel, { recursive: true, withFileTypes: true })) {
      if (!name.isFile()) continue;
      const from = join(name.parentPath, name.name);
      const to = join(model, from.slice(savedModel.length));
      const bytes = await bytesOf(from);
      if (name.name.includes('.data-')) for (let at = 0; at < bytes.length; at++) bytes[at]! ^= 1;
      await mkdir(join(to, '..'), { recursive: true });
      await writeFile(to, bytes);
    }

    const { stdout } = await nearfar('convert', model, '--out', join(folder.path, 'out'), '--json');

    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'integrity-mismatch' } });
    expect(await readdir(folder.path)).toEqual(['model']);
  });

  test('formats and precisions that it does not know', async () => {
    for (const option of [
      ['--formats', 'tfjs,coreml'],
      ['--precision', 'int4'],
    ]) {
      const { status, stdout } = await nearfar('convert', savedModel, '--out', 'nowhere', ...option, '--json');
      expect(status).toBe(1);
      expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'invalid-argument' } });
    }
  });
});

test.each([
  ['384', 'tfjs,onnx', 'float32'],
  ['64', 'onnx', 'uint8'],
  ['32', 'tfjs,onnx', 'float16'],
])('a model of %s MB is converted to %s %s with 64 MB of heap', async (megabytes, formats, precision) => {
  await using folder = await openTempFolder();
  const script = join(repositoryRoot, 'test/support/convert-large.mjs');

  const { status, stdout, stderr } = await runCommand(process.execPath, [
    '--max-old-space-size=64',
    script,
    megabytes,
    join(folder.path, 'out'),
    formats,
    precision,
  ]);

  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  const { peakRssBytes, sourceBytes, written } = JSON.parse(stdout) as {
    peakRssBytes: number;
    sourceBytes: number;
    written: { bytes: number }[];
  };
  const share = { float32: 1, float16: 0.5, uint8: 0.25 }[precision]!;
  for (const { bytes } of written) expect(bytes / sourceBytes).toBeCloseTo(share, 1);
  // Node with the package takes some 90 MB of it, the first bytes of the file that say what it is 64 MB, a weight 16 MB.
  expect(peakRssBytes).toBeLessThan(300e6);
});

async function convert(source: string, ...options: string[]): Promise<ConvertReport> {
  const { stdout, stderr } = await nearfar('convert', source, ...options, '--json');
  expect(stderr).toBe('');
  const report: ConvertReport = JSON.parse(stdout);
  expect(report).not.toHaveProperty('error');
  return report;
}

async function bytesOf(path: string): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await readFile(path));
}

function nearfar(...args: string[]) {
  return runCommand(process.execPath, [join(repositoryRoot, 'dist/cli/main.js'), ...args]);
}

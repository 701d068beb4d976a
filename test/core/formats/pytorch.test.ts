import { readFile } from 'node:fs/promises';
import { zipSync } from 'fflate';
import { describe, expect, test } from 'vitest';
import type { ModelFolder } from '../../../src/core/formats/model-folder.ts';
import { describePyTorch, isHuggingFaceFolder, isTensorFlowLite, refusalOf, refusalOfFolder } from '../../../src/core/index.ts';
import { sharedData } from '../../support/shared-data.ts';
import { memoryFile } from '../../support/tfjs-graph-run.ts';

const text = (value: string) => new TextEncoder().encode(value);

describe('PyTorch files', () => {
  test('are told by their content, whatever their names', () => {
    const checkpoint = zipSync({
      'archive/data.pkl': text('\x80\x02}q'),
      'archive/version': text('3\n'),
      'archive/data/0': new Uint8Array(200_000),
    });
    const script = zipSync({ 'm/code/__torch__.py': text('x'), 'm/data.pkl': text('x'), 'm/constants.pkl': text('x') });
    // torch/serialization.py, MAGIC_NUMBER.
    const legacy = Uint8Array.of(0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e);

    expect(describePyTorch(checkpoint)).toBe('a PyTorch checkpoint');
    expect(describePyTorch(script)).toBe('a TorchScript archive');
    expect(describePyTorch(legacy)).toContain('before 1.6');
    expect(describePyTorch(zipSync({ 'config.json': text('{}') }))).toBeUndefined();
    expect(describePyTorch(text('{}'))).toBeUndefined();
  });

  test('are refused with the lines that export them', () => {
    const refusal = refusalOf(zipSync({ 'archive/data.pkl': text('x') }));

    expect(refusal).toMatchObject({ code: 'unsupported', details: { format: 'pytorch' }, message: expect.stringContaining('dynamo=True') });
  });
});

test('TensorFlow Lite is told by its identifier and refused', async (context) => {
  const path = sharedData('tfs-testdata/saved_model_half_plus_two_tflite/00000123/model.tflite');
  if (path === undefined) return context.skip('the shared data is absent');
  const bytes = new Uint8Array(await readFile(path));

  expect(isTensorFlowLite(bytes)).toBe(true);
  expect(refusalOf(bytes)).toMatchObject({ code: 'unsupported', details: { format: 'tflite' } });
  expect(refusalOf(text('plain'))).toBeUndefined();
});

test('a Hugging Face folder of weights alone is refused, one with an ONNX file is not', () => {
  const file = memoryFile(new Uint8Array(1));
  const folder: ModelFolder = new Map([
    ['config.json', file],
    ['model.safetensors', file],
  ]);

  expect(isHuggingFaceFolder(folder)).toBe(true);
  expect(refusalOfFolder(folder)?.message).toContain('optimum-cli export onnx');
  expect(refusalOfFolder(new Map([...folder, ['onnx/model.onnx', file]]))).toBeUndefined();
});

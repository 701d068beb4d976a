import { expect, test } from 'vitest';
import { type Manifest, parseManifest, taskOf } from '../../../src/core/index.ts';

const task = {
  signature: 'serving_default',
  input: {
    name: 'image',
    resize: { shorterSide: 8, filter: 'bilinear', antialias: true },
    crop: [8, 8],
    layout: 'NHWC',
    scale: 1,
    mean: [0, 0, 0],
    std: [1, 1, 1],
  },
  output: { name: 'scores', activation: 'none' },
};

function manifestWith(tasks?: object): Manifest {
  const digest = `sha256:${'0'.repeat(64)}`;
  const manifest = {
    schemaVersion: 1,
    name: 'tiny',
    version: '3',
    signatures: { serving_default: { method: 'predict', inputs: {}, outputs: {} } },
    ...(tasks && { tasks }),
    variants: [
      {
        id: 'onnx',
        format: 'onnx',
        precision: 'float32',
        entry: 'm.onnx',
        files: ['m.onnx'],
        requires: [],
        tolerance: { absolute: 0, relative: 0 },
      },
    ],
    files: { 'm.onnx': { bytes: 1, digest, chunks: [[1, digest]] } },
    golden: [],
  };
  return parseManifest(new TextEncoder().encode(JSON.stringify(manifest)));
}

test('finds what the manifest says about a task', () => {
  expect(taskOf(manifestWith({ 'image-classification': task }), 'image-classification')).toEqual(task);
});

test('names the model and its tasks when it has not the one asked for', () => {
  const find = () => taskOf(manifestWith({ 'pose-detection': {} }), 'image-classification');

  expect(find).toThrow(
    expect.objectContaining({
      code: 'unsupported',
      details: { name: 'tiny', version: '3', task: 'image-classification', tasks: ['pose-detection'] },
    }),
  );
  expect(() => taskOf(manifestWith(), 'image-classification')).toThrow('tiny version 3 has no task image-classification; its tasks: none');
});

test.each([
  ['a size', { size: [8, 8], filter: 'bilinear', antialias: true }, true],
  ['a fraction of a pixel', { size: [8.5, 8], filter: 'bilinear', antialias: true }, false],
  ['both a size and a shorter side', { size: [8, 8], shorterSide: 0, filter: 'bilinear', antialias: true }, false],
])('reads a resize of %s: %o', (_, resize, isValid) => {
  const parse = () => manifestWith({ 'image-classification': { ...task, input: { ...task.input, resize } } });

  if (isValid) expect(parse).not.toThrow();
  else expect(parse).toThrow(expect.objectContaining({ code: 'invalid-argument' }));
});

test('refuses a standard deviation of 0', () => {
  const parse = () => manifestWith({ 'image-classification': { ...task, input: { ...task.input, std: [1, 0, 1] } } });

  expect(parse).toThrow(expect.objectContaining({ code: 'invalid-argument' }));
});

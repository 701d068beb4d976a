import { expect, test } from 'vitest';
import {
  assertBound,
  createTensor,
  fromOwnOutputs,
  inSignatureLayout,
  inSignatureLayouts,
  type Manifest,
  ownOutputNames,
  resolveBindings,
  softmax,
  toOwnInputs,
  type Variant,
} from '../../../src/core/index.ts';

const variant: Variant = {
  id: 'onnx-float32',
  format: 'onnx',
  precision: 'float32',
  entry: 'model.onnx',
  files: ['model.onnx'],
  requires: [],
  bindings: {
    serving_default: {
      inputs: { image: { tensor: 'input', layout: 'NCHW' } },
      outputs: { logits: { tensor: 'output' }, probabilities: { tensor: 'output', activation: 'softmax' } },
    },
  },
  tolerance: { absolute: 1e-4, relative: 1e-3 },
};

const manifest: Manifest = {
  schemaVersion: 1,
  name: 'm',
  version: '1',
  signatures: {
    serving_default: {
      method: 'predict',
      inputs: { image: { dtype: 'float32', shape: [-1, 2, 3, 2] }, size: { dtype: 'int32', shape: [] } },
      outputs: { logits: { dtype: 'float32', shape: [-1, 2] }, probabilities: { dtype: 'float32', shape: [-1, 2] } },
    },
  },
  variants: [variant],
  files: {},
  golden: [],
};

const bindings = resolveBindings(manifest, variant, 'serving_default');

test('inputs get the names and the layout of the variant; what is not bound stays as it is', () => {
  // [1, 2, 3, 2] NHWC: value = row · 100 + column · 10 + channel
  const data = Float32Array.of(0, 1, 10, 11, 20, 21, 100, 101, 110, 111, 120, 121);
  const size = createTensor('int32', [], Int32Array.of(7));

  const own = toOwnInputs(bindings, { image: createTensor('float32', [1, 2, 3, 2], data), size });

  expect(own['input']).toEqual(createTensor('float32', [1, 2, 2, 3], Float32Array.of(0, 10, 20, 100, 110, 120, 1, 11, 21, 101, 111, 121)));
  expect(own['size']).toBe(size);
});

test('each picture of a batch changes its layout by itself, and changes back to the same values', () => {
  const data = Float32Array.from({ length: 24 }, (_, index) => index);
  const image = createTensor('float32', [2, 2, 3, 2], data);
  const back = resolveBindings(
    manifest,
    { ...variant, bindings: { serving_default: { outputs: { logits: { tensor: 'input', layout: 'NCHW' } } } } },
    'serving_default',
  );

  const own = toOwnInputs(bindings, { image, size: createTensor('int32', [], Int32Array.of(0)) });

  expect(fromOwnOutputs(back, own, ['logits'])['logits']).toEqual(image);
});

test('pictures of three channels change their layout like those of any other number', () => {
  // [2, 1, 2, 3] NHWC: value = picture · 100 + column · 10 + channel
  const image = createTensor('float32', [2, 1, 2, 3], Float32Array.of(0, 1, 2, 10, 11, 12, 100, 101, 102, 110, 111, 112));

  const own = toOwnInputs(bindings, { image, size: createTensor('int32', [], Int32Array.of(0)) });

  expect(own['input']).toEqual(createTensor('float32', [2, 3, 1, 2], Float32Array.of(0, 10, 1, 11, 2, 12, 100, 110, 101, 111, 102, 112)));
});

test('an input that comes in the layout of the variant stays as it is, and is told in that of the signature', () => {
  const image = createTensor('float32', [1, 2, 1, 2], Float32Array.of(1, 2, 3, 4));
  const inputs = { image, size: createTensor('int32', [], Int32Array.of(0)) };
  const layouts = { image: 'NCHW' } as const;

  const own = toOwnInputs(resolveBindings(manifest, variant, 'serving_default', layouts), inputs);
  const told = inSignatureLayouts(manifest, { signature: 'serving_default', inputs, layouts });

  expect(own['input']).toBe(image);
  expect(told).toEqual({ ...inputs, image: createTensor('float32', [1, 1, 2, 2], Float32Array.of(1, 3, 2, 4)) });
});

test('the numbers of a new layout go where they are told to, of exactly their size', () => {
  const image = createTensor(
    'float32',
    [1, 2, 3, 2],
    Float32Array.from({ length: 12 }, (_, index) => index),
  );
  const inputs = { image, size: createTensor('int32', [], Int32Array.of(0)) };
  const memory = new ArrayBuffer(48);
  new Uint8Array(memory).fill(0xff);
  const sizes: number[] = [];

  const own = toOwnInputs(bindings, inputs, (byteLength) => {
    sizes.push(byteLength);
    return memory;
  });

  expect(own).toEqual(toOwnInputs(bindings, inputs));
  expect(sizes).toEqual([48]);
  expect(new Uint8Array(memory)).not.toContain(0xff);
});

test('a layout change needs four dimensions', () => {
  const image = createTensor('float32', [2, 3, 2], new Float32Array(12));

  expect(() => toOwnInputs(bindings, { image, size: createTensor('int32', [], Int32Array.of(0)) })).toThrow(
    expect.objectContaining({ code: 'shape-mismatch', details: expect.objectContaining({ got: [2, 3, 2] }) }),
  );
});

test('two outputs of one own tensor: the activation changes one of them, and they share no memory', () => {
  const logits = Float32Array.of(1, 2, 3, 1);
  const twice = resolveBindings(
    manifest,
    { ...variant, bindings: { serving_default: { outputs: { logits: { tensor: 'o' }, probabilities: { tensor: 'o' } } } } },
    'serving_default',
  );

  const both = fromOwnOutputs(bindings, { output: createTensor('float32', [2, 2], logits) }, ['logits', 'probabilities']);
  const same = fromOwnOutputs(twice, { o: createTensor('float32', [2, 2], logits) }, ['logits', 'probabilities']);

  expect(ownOutputNames(bindings, ['logits', 'probabilities'])).toEqual(['output']);
  expect(both['logits']!.data).toEqual(logits);
  expect(both['probabilities']!.data).toEqual(softmax(logits, 2));
  expect(same['logits']).toEqual(same['probabilities']);
  expect(same['logits']!.data).not.toBe(same['probabilities']!.data);
});

test('an activation over anything but float32 is refused', () => {
  const own = { output: createTensor('int32', [1, 2], Int32Array.of(1, 2)) };

  expect(() => fromOwnOutputs(bindings, own, ['probabilities'])).toThrow(expect.objectContaining({ code: 'unsupported' }));
});

test("the task's layout is the signature's", () => {
  const nchw: Manifest = {
    ...manifest,
    tasks: {
      'image-classification': {
        signature: 'serving_default',
        input: {
          name: 'image',
          resize: { shorterSide: 2, filter: 'bilinear', antialias: true },
          crop: [2, 3],
          layout: 'NCHW',
          scale: 1,
          mean: [0, 0, 0],
          std: [1, 1, 1],
        },
        output: { name: 'probabilities', activation: 'none' },
      },
    },
  };
  const image = createTensor('float32', [1, 2, 2, 3], new Float32Array(12));

  const own = toOwnInputs(resolveBindings(nchw, variant, 'serving_default'), { image, size: createTensor('int32', [], Int32Array.of(0)) });

  expect(own['input']).toBe(image);
});

test("a graph's shape is told in the layout of the signature", () => {
  const [image] = bindings.inputs;

  expect(inSignatureLayout(image!, [-1, 3, 224, 200])).toEqual([-1, 224, 200, 3]);
  expect(inSignatureLayout(image!, undefined)).toBeUndefined();
});

test('every tensor that the model lacks is listed', () => {
  const own = { hasInput: (tensor: string) => tensor === 'input', hasOutput: () => false };

  expect(() => assertBound(manifest, variant, own)).toThrow(
    expect.objectContaining({
      code: 'unsupported',
      details: expect.objectContaining({ problems: expect.objectContaining({ length: 3 }) }),
    }),
  );
});

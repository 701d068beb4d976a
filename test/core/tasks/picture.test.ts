import { expect, test } from 'vitest';
import { createTensor, type Pixels } from '../../../src/core/index.ts';
import { openTask } from '../../../src/core/tasks/open-task/index.ts';
import { preparePicture } from '../../../src/core/tasks/picture/index.ts';
import { taskSource } from '../../support/task-source.ts';

const filter = { filter: 'bilinear', antialias: true } as const;
const plain = { layout: 'NHWC' as const, scale: 1, mean: [0, 0, 0], std: [1, 1, 1] };
const letterboxed = { name: 'image', resize: { letterbox: [8, 8], fill: 114, align: 'centre', ...filter }, ...plain };
const stretched = { name: 'image', resize: { size: [8, 8], ...filter }, ...plain };
const inputs = { image: ['float32', [-1, 8, 8, 3]] } satisfies Record<string, ['float32', number[]]>;

function picture(width: number, height: number, fill: (index: number) => number = () => 200): Pixels {
  return { width, height, channels: 3, data: Uint8Array.from({ length: width * height * 3 }, (_, index) => fill(index)) };
}

test('lays a picture in the middle of a frame, with grey around', () => {
  const { image, picture: size } = preparePicture(picture(4, 2), {
    ...letterboxed,
    resize: { letterbox: [8, 8], fill: 114, align: 'centre', ...filter },
  });

  expect(size).toEqual({ width: 4, height: 2 });
  const rows = Array.from({ length: 8 }, (_, row) => image.data[row * 24]);
  expect(rows).toEqual([114, 114, 200, 200, 200, 200, 114, 114]);
});

const detection = { activation: 'none', scoreThreshold: 0.3, maxDetections: 10 };

test('finds boxes in a joined output and maps them from the frame to the picture', async () => {
  const output = {
    ...detection,
    boxFormat: 'cxcywh',
    coordinates: 'pixels',
    suppression: { iouThreshold: 0.5, across: 'class' },
    labels: 'labels.txt',
    tensors: { predictions: 'out', order: 'values-boxes', objectness: false },
  };
  const source = taskSource('object-detection', { input: letterboxed, output }, { inputs, files: { 'labels.txt': 'cat\ndog\n' } });
  const task = await openTask('object-detection', source);
  // A picture of 80×40 lies in rows 2–5 of the frame, ten of its pixels to one.
  const batch = task.encode([picture(80, 40)]);
  const boxes = [
    [4, 4, 4, 2, 0.9, 0.1],
    [4, 4, 4, 2.2, 0.8, 0.1],
    [4, 4, 4, 2, 0.1, 0.7],
    [0, 2, 4, 4, 0.2, 0.4],
    [1, 1, 1, 1, 0.3, 0.2],
  ];
  const values = [0, 1, 2, 3, 4, 5].flatMap((value) => boxes.map((box) => box[value]!));

  const [found] = task.decode({ out: createTensor('float32', [1, 6, 5], Float32Array.from(values)) }, batch, {});

  expect(found!.map(({ label, box }) => [label, box])).toEqual([
    ['cat', { xmin: 20, ymin: 10, xmax: 60, ymax: 30 }],
    ['dog', { xmin: 20, ymin: 10, xmax: 60, ymax: 30 }],
    ['dog', { xmin: 0, ymin: 0, xmax: 20, ymax: 20 }],
  ]);
  expect(found![0]).toMatchObject({ index: 0, score: Math.fround(0.9) });
});

test('multiplies class scores by objectness and suppresses across classes', async () => {
  const output = {
    ...detection,
    boxFormat: 'xyxy',
    coordinates: 'pixels',
    suppression: { iouThreshold: 0.5, across: 'all' },
    tensors: { predictions: 'out', order: 'boxes-values', objectness: true },
  };
  const task = await openTask('object-detection', taskSource('object-detection', { input: stretched, output }, { inputs }));
  const batch = task.encode([picture(8, 8)]);
  const values = Float32Array.from(
    [
      [0, 0, 4, 4, 0.5, 1, 0],
      [0, 0, 4, 4, 1, 0, 0.75],
      [4, 4, 8, 8, 0.25, 1, 1],
    ].flat(),
  );

  const [found] = task.decode({ out: createTensor('float32', [1, 3, 7], values) }, batch, {});

  expect(found).toEqual([{ label: '1', index: 1, score: 0.75, box: { xmin: 0, ymin: 0, xmax: 4, ymax: 4 } }]);
});

test('reads boxes that are suppressed already, as the TensorFlow Object Detection API gives them', async () => {
  const output = {
    ...detection,
    boxFormat: 'yxyx',
    coordinates: 'relative',
    labels: 'labels.txt',
    tensors: { boxes: 'boxes', scores: 'scores', classes: 'classes', firstClass: 1, count: 'count' },
  };
  const source = taskSource('object-detection', { input: stretched, output }, { inputs, files: { 'labels.txt': 'person\nbicycle\n' } });
  const task = await openTask('object-detection', source);
  const batch = task.encode([picture(100, 50)]);
  const outputs = {
    boxes: createTensor('float32', [1, 3, 4], Float32Array.of(0, 0.5, 0.5, 1.25, 0, 0, 1, 1, 0, 0, 1, 1)),
    scores: createTensor('float32', [1, 3], Float32Array.of(0.5, 0.75, 1)),
    classes: createTensor('int64', [1, 3], BigInt64Array.of(2n, 1n, 1n)),
    count: createTensor('float32', [1], Float32Array.of(2)),
  };

  const [found] = task.decode(outputs, batch, { threshold: 0.4 });

  expect(found).toEqual([
    { label: 'person', index: 0, score: 0.75, box: { xmin: 0, ymin: 0, xmax: 100, ymax: 50 } },
    { label: 'bicycle', index: 1, score: 0.5, box: { xmin: 50, ymin: 0, xmax: 100, ymax: 25 } },
  ]);
  expect(task.decode(outputs, batch, { maxDetections: 1 })[0]).toHaveLength(1);
});

test('leaves the background out, behind or before the classes', async () => {
  const open = (background: string) =>
    openTask(
      'object-detection',
      taskSource(
        'object-detection',
        {
          input: stretched,
          output: {
            ...detection,
            activation: 'softmax',
            background,
            boxFormat: 'xyxy',
            coordinates: 'relative',
            tensors: { boxes: 'boxes', scores: 'scores' },
          },
        },
        { inputs },
      ),
    );
  const outputs = {
    boxes: createTensor('float32', [1, 2, 4], Float32Array.of(0, 0, 1, 1, 0, 0, 1, 1)),
    scores: createTensor('float32', [1, 2, 3], Float32Array.of(9, 9, 0, 0, 9, 9)),
  };
  const found = async (background: string) => {
    const task = await open(background);
    return task.decode(outputs, task.encode([picture(8, 8)]), {})[0]!.map(({ index }) => index);
  };

  expect(await found('last')).toEqual([0, 1]);
  expect(await found('first')).toEqual([0, 0]);
});

test('segments a picture: the best class of each pixel, at the size of the picture', async () => {
  const output = { name: 'out', layout: 'NCHW', labels: 'labels.txt' };
  const source = taskSource('image-segmentation', { input: letterboxed, output }, { inputs, files: { 'labels.txt': 'sky\nsea\n' } });
  const task = await openTask('image-segmentation', source);
  const batch = task.encode([picture(4, 2)]);
  // A mask half as fine as the frame: the picture lies in its rows 1 and 2.
  const sky = [0, 0, 0, 0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
  const sea = sky.map((value) => 1 - value);

  const [answer] = task.decode({ out: createTensor('float32', [1, 2, 4, 4], Float32Array.from([...sky, ...sea])) }, batch, {});

  expect(answer).toEqual({
    mask: { width: 4, height: 2, data: Uint8Array.of(0, 0, 1, 1, 0, 1, 1, 1) },
    segments: [
      { label: 'sea', index: 1, pixels: 5 },
      { label: 'sky', index: 0, pixels: 3 },
    ],
  });
});

test('segments by class numbers that the model gives, and by a threshold', async () => {
  const open = (more: object) =>
    openTask(
      'image-segmentation',
      taskSource('image-segmentation', { input: stretched, output: { name: 'out', layout: 'NHWC', ...more } }, { inputs }),
    );
  const numbers = await open({});
  const binary = await open({ threshold: 0 });
  const batch = numbers.encode([picture(2, 1)]);

  expect(numbers.decode({ out: createTensor('int64', [1, 1, 2, 1], BigInt64Array.of(7n, 300n)) }, batch, {})[0]!.mask.data).toEqual(
    Uint16Array.of(7, 300),
  );
  expect(binary.decode({ out: createTensor('float32', [1, 1, 2, 1], Float32Array.of(-1, 1)) }, batch, {})[0]!.mask.data).toEqual(
    Uint8Array.of(0, 1),
  );
});

test.each(['NHWC', 'NCHW'])('gives a picture back from what the model reads (%s)', async (layout) => {
  const normalisation = { layout, scale: 1 / 255, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
  const input = { name: 'image', resize: { size: [5, 7], ...filter }, ...normalisation };
  const output = { name: 'out', size: 'model', ...normalisation };
  const task = await openTask('image-to-image', taskSource('image-to-image', { input, output }, { inputs }));
  const given = picture(7, 5, (index) => (index * 37) % 256);
  const batch = task.encode([given, given]);

  const answers = task.decode({ out: batch.tensors['image']! }, batch, {});

  expect(answers).toEqual([1, 2].map(() => ({ width: 7, height: 5, data: given.data })));
});

test('cuts the filling off an image, grey or coloured, and clamps what is no byte', async () => {
  const output = { name: 'out', size: 'picture', ...plain };
  const task = await openTask('image-to-image', taskSource('image-to-image', { input: letterboxed, output }, { inputs }));
  const batch = task.encode([picture(8, 4)]);
  const rows = [0, 0, 300, -5, Number.NaN, 99.5, 0, 0].flatMap((value) => Array<number>(8).fill(value));

  const [image] = task.decode({ out: createTensor('float32', [1, 8, 8, 1], Float32Array.from(rows)) }, batch, {});

  expect([image!.width, image!.height]).toEqual([8, 4]);
  expect([0, 1, 2, 3].map((row) => image!.data[row * 24])).toEqual([255, 0, 0, 100]);
});

test('refuses outputs of another shape or dtype than declared', async () => {
  const output = { ...detection, boxFormat: 'xyxy', coordinates: 'relative', tensors: { boxes: 'boxes', scores: 'scores' } };
  const task = await openTask('object-detection', taskSource('object-detection', { input: stretched, output }, { inputs }));
  const batch = task.encode([picture(8, 8)]);
  const boxes = createTensor('float32', [1, 2, 4], new Float32Array(8));
  const decode = (scores: Parameters<typeof task.decode>[0]) => () => task.decode({ boxes, ...scores }, batch, {});

  expect(decode({ scores: createTensor('float32', [1, 3, 1], new Float32Array(3)) })).toThrow(/with 2 boxes/);
  expect(decode({ scores: createTensor('int32', [1, 2, 1], new Int32Array(2)) })).toThrow(
    expect.objectContaining({ code: 'dtype-mismatch' }),
  );
  expect(decode({ scores: createTensor('float32', [2], new Float32Array(2)) })).toThrow(/of rank 3/);
  expect(decode({})).toThrow('the engine gave no output "scores"');
  expect(() => task.encode([])).toThrow(/at least one input/);
});

import { monitorEventLoopDelay } from 'node:perf_hooks';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type RunningServer, startServer } from '../../src/server/index.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { pictureCases, publishTrainedModels, type ShapeFound, soundCases, tableCases, textCases } from '../support/trained-models.ts';

// Trained models, from what people have to answers, against the same pipelines in Python: scikit-learn, tokenizers, SciPy, TensorFlow, ONNX Runtime.

let folder: Awaited<ReturnType<typeof openTempFolder>>;
let server: RunningServer;

beforeAll(async () => {
  folder = await openTempFolder();
  await publishTrainedModels(folder.path);
  server = await startServer({
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 'off',
    modelsRoot: folder.path,
    backends: ['onnx-cpu', 'onnx-wasm'],
    engineThreads: 1,
    maxEngineWorkers: 1,
    logLevel: 'silent',
  });
  await server.whenReady();
});

afterAll(async () => {
  await server.close();
  await folder[Symbol.asyncDispose]();
});

async function ask(path: string, input: unknown): Promise<unknown> {
  const body = input instanceof Buffer ? new Uint8Array(input) : JSON.stringify(input);
  const response = await fetch(`${server.restAddress}/nearfar/v1/models/${path}`, { method: 'POST', body });
  const { output, error } = await response.json();
  return output ?? error;
}

/** Scores in the order of the classes. */
async function scoresOf(path: string, input: unknown): Promise<number[]> {
  const classes = (await ask(`${path}?topK=10`, input)) as { index: number; score: number }[];
  return classes.sort((a, b) => a.index - b.index).map(({ score }) => score);
}

const close = (values: readonly number[]) => values.map((value) => expect.closeTo(value, 5));

test.each(tableCases('wine'))('which wine it is: $output', async ({ input, output }) => {
  expect(await scoresOf('wine/tasks/tabular-classification', input)).toEqual(close(output));
});

test.each(tableCases('diabetes'))('how far the disease has gone: $output', async ({ input, output }) => {
  const [progress] = (await ask('diabetes/tasks/tabular-regression', input)) as number[];

  expect(progress! / output[0]!).toBeCloseTo(1, 6);
});

test.each(textCases())('what a sentence is about, and its vector: "$input"', async ({ input, output, vector }) => {
  expect(await scoresOf('topics/tasks/text-classification', input)).toEqual(close(output));
  expect(await ask('topics/tasks/embeddings', input)).toEqual(close(vector));
});

test.each(soundCases())('which sound it is: $kind', async ({ sampleRate, samples, kind, output }) => {
  const sound = { sampleRate, channels: [[...samples]] };
  const [best] = (await ask('sounds/tasks/audio-classification', sound)) as { label: string }[];

  expect(best!.label).toBe(kind);
  const scores = await scoresOf('sounds/tasks/audio-classification', sound);
  expect(scores).toEqual(output.map((score) => expect.closeTo(score, 4)));
});

test('a minute of sound is read, resampled and turned into bands while the event loop goes on', async () => {
  const [chirp] = soundCases();
  // The model hears the first quarter of a second.
  const samples = [...chirp!.samples, ...Array.from({ length: 59 * 16_000 }, (_, index) => ((index * 7919) % 2000) / 2000 - 0.5)];
  const sound = JSON.stringify({ sampleRate: chirp!.sampleRate, channels: [samples] });
  await ask('sounds/tasks/audio-classification', { sampleRate: 16_000, channels: [samples.slice(0, 8_000)] }); // the thread has started
  const delays = monitorEventLoopDelay({ resolution: 1 });
  delays.enable();
  const startedAt = performance.now();
  const response = await fetch(`${server.restAddress}/nearfar/v1/models/sounds/tasks/audio-classification`, {
    method: 'POST',
    body: sound,
  });
  const tookMs = performance.now() - startedAt;
  delays.disable();

  const { output } = await response.json();
  expect(output[0].label).toBe('chirp');
  expect(delays.max / 1e6).toBeLessThan(tookMs / 2);
});

test.each(pictureCases())('which shapes are in $name, and where', async ({ png, output }) => {
  const found = (await ask('shapes/tasks/object-detection', png)) as ShapeFound[];

  expect(found).toMatchObject(
    output.map(({ index, score, box }) => ({
      index,
      score: expect.closeTo(score, 4),
      box: Object.fromEntries(Object.entries(box).map(([side, value]) => [side, expect.closeTo(value, 3)])),
    })),
  );
});

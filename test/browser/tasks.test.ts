import { afterAll, beforeAll, expect, test } from 'vitest';
import { launchBrowser, openTestPage, type TestBrowser } from '../support/browser.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { drawSquares, squares, writePictureModel, writeTaskModels } from '../support/task-models.ts';
import { pictureCases, publishTrainedModels, soundCases, tableCases, textCases } from '../support/trained-models.ts';
import { type FarServer, openFarServer } from './far-server.ts';

// Tasks through the public entry, with real workers, engines and a real server: both legs give the same answer from the same digest.

let browser: TestBrowser;
let far: FarServer;
let folder: Awaited<ReturnType<typeof openTempFolder>>;
let digests: { pets: string; ages: string };
let colours: string;

beforeAll(async () => {
  folder = await openTempFolder();
  digests = await writeTaskModels(folder.path);
  colours = await writePictureModel(folder.path);
  await publishTrainedModels(folder.path);
  [browser, far] = await Promise.all([launchBrowser(), openFarServer(folder.path, ['tfjs-wasm', 'onnx-cpu'])]);
});
afterAll(async () => {
  await browser[Symbol.asyncDispose]();
  await far[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

test.each(['only-on-device', 'only-server'] as const)('classifies a text and answers a row: %s', async (mode) => {
  await using opened = await openTestPage(browser, { mounts: { '/models/': folder.path } });

  const { text, row, missing, wrong } = await opened.page.evaluate(
    async ({ mode, server }) => {
      const client = window.nearfar.createClient({ models: '/models', server, backends: ['tfjs-wasm', 'onnx-wasm'] });
      const codeOf = (call: Promise<unknown>) => call.then(String, ({ code }: { code: string }) => code);
      const pets = await client.open('pets', { mode });
      const ages = await client.open('ages', { mode });
      const text = await pets.run('text-classification', 'A photo of a CAT.', { topK: 1 });
      const row = await ages.run('tabular-regression', { age: 55 });
      const missing = await codeOf(pets.run('tabular-regression', { age: 55 }));
      const wrong = await codeOf(ages.run('tabular-regression', { height: 2 }));
      await client.close();
      return { text, row, missing, wrong };
    },
    { mode, server: far.url },
  );

  const leg = mode === 'only-server' ? 'server' : 'on-device';
  expect(text.output).toEqual([{ label: 'cat', index: 0, score: expect.closeTo(1 / (1 + Math.exp(-9)), 5) }]);
  expect(text.run).toMatchObject({ leg, engine: 'tfjs', digest: digests.pets });
  expect(row.output).toEqual([157]);
  expect(row.run).toMatchObject({ leg, engine: 'onnx', digest: digests.ages });
  expect({ missing, wrong }).toEqual({ missing: 'unsupported', wrong: 'invalid-argument' });
});

test('a text is classified on the device where the server is cut', async () => {
  await using opened = await openTestPage(browser, { mounts: { '/models/': folder.path } });

  const { output, run } = await opened.page.evaluate(async (server) => {
    const client = window.nearfar.createClient({ models: '/models', server, backends: ['tfjs-wasm'] });
    const model = await client.open('pets', { mode: 'prefer-server' });
    model.faults.cutServer(true);
    const answer = await model.run('text-classification', 'Dog!', { topK: 1 });
    await client.close();
    return answer;
  }, far.url);

  expect(output).toMatchObject([{ label: 'dog' }]);
  expect(run).toMatchObject({ leg: 'on-device', fallback: { code: 'network' } });
});

/** Every task of pictures in a page, with the pixels of masks and pictures as lists. */
async function runPictureTasks(mode: 'only-on-device' | 'only-server', backend: 'tfjs-wasm' | 'tfjs-webgpu' = 'tfjs-wasm') {
  const png = await drawSquares();
  await using opened = await openTestPage(browser, {
    mounts: {
      '/models/': folder.path,
      '/squares.png': (_, response) => void response.writeHead(200, { 'content-type': 'image/png' }).end(png),
    },
  });
  return await opened.page.evaluate(
    async ({ mode, server, backend }) => {
      const client = window.nearfar.createClient({ models: '/models', server, backends: [backend], allowSoftwareAdapter: true });
      const model = await client.open('colours', { mode });
      const found = await model.run('object-detection', '/squares.png');
      const photo = await (await fetch('/squares.png')).blob();
      const fewer = await model.run('object-detection', photo, { maxDetections: 1 });
      const none = await model.run('object-detection', photo, { threshold: 0.95 });
      const { mask, segments } = (await model.run('image-segmentation', await createImageBitmap(photo))).output;
      const image = (await model.run('image-to-image', photo)).output;
      const vector = (await model.run('embeddings', photo)).output;
      const classes = await model.run('image-classification', photo, { topK: 2 });
      const { predictions } = await model.classify(photo, { topK: 2 });
      const codeOf = (call: Promise<unknown>) => call.then(String, ({ code, message }: Record<string, string>) => `${code} ${message}`);
      const errors = [
        await codeOf(model.run('embeddings', { text: 'a text', pair: 'another' })),
        await codeOf(model.run('object-detection', new Blob(['no picture']))),
        await codeOf(model.run('object-detection', photo, { threshold: Number.NaN })),
        await codeOf(model.run('text-classification', 'a text')),
        await codeOf(model.run('object-detection', photo, { deadlineMs: 0 })),
      ];
      await client.close();
      return {
        run: found.run,
        errors,
        answers: {
          found: found.output,
          classes: classes.output,
          predictions,
          counts: [fewer, none].map(({ output }) => output.length),
          segments,
          mask: { ...mask, kind: mask.data.constructor.name, data: [...mask.data] },
          image: { ...image, kind: image.data.constructor.name, data: [...image.data] },
          vector: { kind: vector.constructor.name, data: [...vector] },
        },
      };
    },
    { mode, server: far.url, backend },
  );
}

test('finds, segments, repaints and embeds a picture on either leg, with the same answers to the last bit', async () => {
  const onDevice = await runPictureTasks('only-on-device');
  const onServer = await runPictureTasks('only-server');

  expect(onDevice.run).toMatchObject({ leg: 'on-device', engine: 'tfjs', digest: colours });
  expect(onServer.run).toMatchObject({ leg: 'server', engine: 'tfjs', digest: colours });
  expect(onServer.answers).toEqual(onDevice.answers);
  const { found, classes, predictions, counts, segments, mask, image, vector } = onDevice.answers;
  expect(found).toEqual(squares.detections.map((detection) => ({ ...detection, score: expect.closeTo(detection.score, 2) })));
  expect(classes).toEqual(predictions);
  expect(classes.map(({ label }) => label)).toEqual(['green', 'blue']);
  expect(counts).toEqual([1, 0]);
  expect(segments).toEqual(squares.segments);
  expect(mask).toMatchObject({ width: squares.width, height: squares.height, kind: 'Uint8Array' });
  expect([mask.data[16 * squares.width + 16], mask.data[16 * squares.width + 48]]).toEqual([1, 2]);
  expect(image).toMatchObject({ width: squares.width, height: squares.height, kind: 'Uint8Array' });
  expect(image.data.slice(0, 3)).toEqual([255, 255, 255]);
  expect(vector).toEqual({ kind: 'Float32Array', data: squares.vector.map((value) => expect.closeTo(value, 6)) });
  for (const { errors } of [onDevice, onServer]) {
    expect(errors).toEqual([
      expect.stringMatching(/^invalid-argument photo: expected an image/),
      expect.stringMatching(/^invalid-argument .*no picture/),
      expect.stringMatching(/^invalid-argument threshold/),
      expect.stringMatching(/^unsupported colours version 1 has no task text-classification/),
      expect.stringMatching(/^deadline-exceeded/),
    ]);
  }
});

test('the tasks of pictures answer on WebGPU as on the server', async () => {
  const onGpu = await runPictureTasks('only-on-device', 'tfjs-webgpu');
  const onServer = await runPictureTasks('only-server');

  const { found, classes, predictions, vector, ...exact } = onServer.answers;
  const close = <Each extends { score: number }>(all: readonly Each[]) =>
    all.map((one) => ({ ...one, score: expect.closeTo(one.score, 5) }));
  expect(onGpu.run).toMatchObject({ leg: 'on-device', backend: 'webgpu', digest: colours });
  expect(onGpu.answers).toMatchObject(exact);
  expect(onGpu.answers).toMatchObject({ found: close(found), classes: close(classes), predictions: close(predictions) });
  expect(onGpu.answers.vector.data).toEqual(vector.data.map((value) => expect.closeTo(value, 5)));
  expect(onGpu.errors).toEqual(onServer.errors);
});

/** One call of each trained model in a page; scores in the order of the classes. */
async function runTrained(mode: 'only-on-device' | 'only-server') {
  const [[wine], [diabetes], [sentence], sounds, [shapes]] = [
    tableCases('wine'),
    tableCases('diabetes'),
    textCases(),
    soundCases(),
    pictureCases(),
  ];
  await using opened = await openTestPage(browser, { mounts: { '/models/': folder.path } });
  return await opened.page.evaluate(
    async ({ mode, server, wine, diabetes, sentence, sound, png }) => {
      const client = window.nearfar.createClient({ models: '/models', server, backends: ['onnx-wasm'] });
      const open = (name: string) => client.open(name, { mode });
      const topK = 10;
      const scores = ({ output }: { output: readonly { index: number; score: number }[] }) =>
        [...output].sort((a, b) => a.index - b.index).map(({ score }) => score);
      const [wines, patients, topics, noises, pictures] = await Promise.all(['wine', 'diabetes', 'topics', 'sounds', 'shapes'].map(open));
      const photo = new Blob([Uint8Array.from(atob(png), (char) => char.charCodeAt(0))]);
      const channels = [Float64Array.from(sound.samples)];
      const answers = {
        wine: scores(await wines!.run('tabular-classification', wine, { topK })),
        diabetes: (await patients!.run('tabular-regression', diabetes)).output,
        topic: scores(await topics!.run('text-classification', sentence, { topK })),
        vector: [...(await topics!.run('embeddings', sentence)).output],
        sound: scores(await noises!.run('audio-classification', { sampleRate: sound.sampleRate, channels }, { topK })),
        shapes: (await pictures!.run('object-detection', photo)).output,
      };
      const codeOf = (call: Promise<unknown>) => call.then(String, ({ code }: { code: string }) => code);
      const refused = {
        text: await codeOf(topics!.run('text-classification', 7 as unknown as string)),
        blob: await codeOf(topics!.run('embeddings', new Blob(['a text']))),
        cell: await codeOf(wines!.run('tabular-classification', { ...wine, alcohol: [1] as unknown as number })),
        missing: await codeOf(wines!.run('tabular-classification', { ...wine, alcohol: null })),
        rate: await codeOf(noises!.run('audio-classification', { sampleRate: 0, channels })),
        silence: await codeOf(noises!.run('audio-classification', { sampleRate: 8000, channels: [] })),
        samples: await codeOf(noises!.run('audio-classification', { sampleRate: 8000, channels: [[0, 1]] as unknown as Float32Array[] })),
      };
      await client.close();
      return { answers, refused };
    },
    {
      mode,
      server: far.url,
      wine: wine!.input,
      diabetes: diabetes!.input,
      sentence: sentence!.input,
      sound: { sampleRate: sounds[0]!.sampleRate, samples: [...sounds[0]!.samples] },
      png: shapes!.png.toString('base64'),
    },
  );
}

test('trained models of tables, texts, sounds and pictures answer on either leg as Python does, and refuse the same', async () => {
  const onDevice = await runTrained('only-on-device');
  const onServer = await runTrained('only-server');

  const close = (values: readonly number[], digits = 5) => values.map((value) => expect.closeTo(value, digits));
  const [wine, diabetes, sentence, sound, shapes] = [
    tableCases('wine')[0]!,
    tableCases('diabetes')[0]!,
    textCases()[0]!,
    soundCases()[0]!,
    pictureCases()[0]!,
  ];
  for (const { answers, refused } of [onDevice, onServer]) {
    expect(answers).toMatchObject({
      wine: close(wine.output),
      diabetes: close(diabetes.output, 3),
      topic: close(sentence.output),
      vector: close(sentence.vector),
      sound: close(sound.output, 4),
      shapes: shapes.output.map(({ index, score, box }) => ({
        index,
        score: expect.closeTo(score, 4),
        box: Object.fromEntries(Object.entries(box).map(([side, value]) => [side, expect.closeTo(value, 3)])),
      })),
    });
    expect(new Set(Object.values(refused))).toEqual(new Set(['invalid-argument']));
  }
});

test.each(['only-on-device', 'only-server'] as const)('an abort at any moment of a task rejects with its reason: %s', async (mode) => {
  const png = await drawSquares();
  await using opened = await openTestPage(browser, { mounts: { '/models/': folder.path } });

  const seen = await opened.page.evaluate(
    async ({ mode, server, png }) => {
      const client = window.nearfar.createClient({ models: '/models', server, backends: ['tfjs-wasm'] });
      const model = await client.open('colours', { mode });
      const photo = new Blob([Uint8Array.from(atob(png), (char) => char.charCodeAt(0))]);
      const detect = async (signal?: AbortSignal) => JSON.stringify((await model.run('object-detection', photo, { signal })).output);
      const right = await detect();
      const outcomes: string[] = [];
      // One turn of the event loop more each time, from before the call until after its answer.
      for (let turns = -1; outcomes.at(-1) !== 'answered'; turns += 1) {
        const controller = new AbortController();
        const reason = new Error(`after ${turns} turns`);
        if (turns < 0) controller.abort(reason);
        const call = detect(controller.signal).then(
          (answer) => (answer === right ? 'answered' : 'wrong'),
          (error) => (error === reason ? 'reason' : `other: ${error}`),
        );
        for (let turn = 0; turn < turns; turn += 1) await new Promise((resolve) => setTimeout(resolve));
        controller.abort(reason);
        outcomes.push(await call);
        if ((await detect()) !== right) outcomes.push('next call wrong');
      }
      await client.close();
      return outcomes;
    },
    { mode, server: far.url, png: png.toString('base64') },
  );

  expect(seen.at(-1)).toBe('answered');
  expect(seen.length).toBeGreaterThan(2);
  expect(new Set(seen.slice(0, -1))).toEqual(new Set(['reason']));
});

test('the deadline of a task covers both legs: a server that does not answer leaves time for the device, and is given up', async () => {
  const png = await drawSquares();
  await using opened = await openTestPage(browser, { mounts: { '/models/': folder.path } });
  // The last test: from now on the server answers none.
  const givenUp = far.holdPredictions();

  const { late, run } = await opened.page.evaluate(
    async ({ server, png }) => {
      const client = window.nearfar.createClient({ models: '/models', server, backends: ['tfjs-wasm'] });
      const photo = new Blob([Uint8Array.from(atob(png), (char) => char.charCodeAt(0))]);
      const near = await client.open('colours', { mode: 'only-on-device' });
      await near.run('object-detection', photo);
      const distant = await client.open('colours', { mode: 'only-server' });
      const late = await distant.run('object-detection', photo, { deadlineMs: 300 }).then(String, ({ code }: { code: string }) => code);
      const both = await client.open('colours', { mode: 'prefer-server' });
      const { run } = await both.run('object-detection', photo, { deadlineMs: 2_000 });
      await client.close();
      return { late, run };
    },
    { server: far.url, png: png.toString('base64') },
  );

  await givenUp;
  expect(late).toBe('deadline-exceeded');
  expect(run).toMatchObject({ leg: 'on-device', fallback: { from: 'server', code: 'deadline-exceeded' } });
});

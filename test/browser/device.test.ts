import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { launchBrowser, openTestPage, type TestBrowser } from '../support/browser.ts';
import { createDenseRepository, denseWidth } from '../support/dense-model.ts';
import { loseAgainAndAgain } from '../support/loss-cycles.ts';
import { pageMounts } from './far-server.ts';

// The device leg over a longer life: losses, several models, bursts, and what the page's own thread feels of it.

const mounts = await pageMounts();
let browser: TestBrowser;
beforeAll(async () => {
  browser = await launchBrowser();
});
afterAll(() => browser[Symbol.asyncDispose]());

test('a GPU that is lost again and again comes back each time, and leaves no device, buffer or worker behind', async () => {
  await using repository = await createDenseRepository();
  await using opened = await openTestPage(browser, { mounts: { '/models/': repository.folder } });
  const inputs = { x: { shape: [1, denseWidth], values: Array(denseWidth).fill(1) } };

  const cycles = await loseAgainAndAgain(opened, { name: repository.name, backend: 'tfjs-webgpu', times: 3, inputs });

  const [first] = cycles;
  expect(first?.buffers).toBeGreaterThan(2);
  for (const { runs, ...counts } of cycles) {
    expect(runs).toMatchObject([{ backend: 'webgpu' }, { backend: 'webgpu', cache: 'hit' }]);
    expect(counts).toEqual({ values: first?.values, devices: 1, workers: 1, buffers: first?.buffers });
  }
  await expect.poll(() => opened.page.workers().length).toBe(0);
});

test('above the memory budget models take turns: the one called is loaded again from the cache', async () => {
  await using opened = await openTestPage(browser, { mounts });

  const seen = await opened.page.evaluate(async () => {
    const client = window.nearfar.createClient({ models: '/models', memoryBudgetBytes: 3_000_000 });
    const evictions: string[] = [];
    client.addEventListener('eviction', ({ detail }) => evictions.push(`${detail.from} ${detail.model} ${detail.bytes > 1_000_000}`));
    const mode = 'only-on-device';
    const tfjs = await client.open('everyday10', { mode, backends: ['tfjs-wasm'] });
    const onnx = await client.open('everyday10', { mode, backends: ['onnx-wasm'] });
    const runs = [];
    for (const model of [tfjs, onnx, tfjs]) {
      const { predictions, run } = await model.classify('/photos/boat.png', { topK: 1 });
      runs.push({ label: predictions[0]?.label, engine: run.engine });
    }
    await client.close();
    return { evictions, runs };
  });

  const [first] = seen.runs;
  expect(seen.runs.map(({ engine }) => engine)).toEqual(['tfjs', 'onnx', 'tfjs']);
  expect(seen.runs.map(({ label }) => label)).toEqual([first?.label, first?.label, first?.label]);
  expect(seen.evictions).toEqual(Array(4).fill('memory everyday10 true'));
});

describe('a stream', () => {
  /** Puts a playing video of a moving picture, 30 frames a second, and a warm model on the page. */
  const openStreamPage = async () => {
    const opened = await openTestPage(browser, { mounts });
    await opened.page.evaluate(async () => {
      const client = window.nearfar.createClient({ models: '/models', backends: ['tfjs-wasm'] });
      const model = await client.open('everyday10', { mode: 'only-on-device' });
      const canvas = Object.assign(document.createElement('canvas'), { width: 64, height: 64 });
      const context = canvas.getContext('2d');
      let tick = 0;
      setInterval(() => {
        if (!context) return;
        context.fillStyle = `hsl(${(tick++ * 7) % 360} 80% 60%)`;
        context.fillRect(0, 0, 64, 64);
      }, 33);
      const [track] = canvas.captureStream(30).getVideoTracks();
      if (!track) throw new Error('no track');
      const video = Object.assign(document.createElement('video'), { muted: true, srcObject: new MediaStream([track]) });
      await video.play();
      Object.assign(window, { client, model, canvas, track, video });
    });
    return opened;
  };
  interface StreamPage {
    client: import('nearfar').Client;
    model: import('nearfar').Model;
    canvas: HTMLCanvasElement;
    track: MediaStreamTrack;
    video: HTMLVideoElement;
  }

  test.each(['video', 'track'] as const)('of a %s drops the frames that come while nobody asks, and queues none', async (kind) => {
    await using opened = await openStreamPage();

    const seen = await opened.page.evaluate(async (kind) => {
      const { model, client, [kind]: source } = window as unknown as StreamPage;
      let underWay = 0;
      let most = 0;
      const { classify } = model;
      const counted: typeof model.classify = async (...args) => {
        most = Math.max(most, ++underWay);
        return classify.apply(model, args).finally(() => underWay--);
      };
      Object.assign(model, { classify: counted });
      const results = [];
      for await (const { predictions, run, frame } of model.classifyStream(source, { topK: 1 })) {
        results.push({ label: predictions[0]?.label, leg: run.leg, ...frame });
        if (results.length === 4) break;
        // A consumer that is slower than ten frames.
        await new Promise((resolve) => setTimeout(resolve, 400));
      }
      await client.close();
      return { results, most };
    }, kind);

    expect(seen.most).toBe(1);
    expect(seen.results).toHaveLength(4);
    for (const { label, leg } of seen.results) expect([typeof label, leg]).toEqual(['string', 'on-device']);
    const gaps = seen.results.slice(1).map(({ mediaTimeMs }, index) => mediaTimeMs - (seen.results[index]?.mediaTimeMs ?? 0));
    // Each result is of a frame of its own moment, not of the next in a line.
    for (const gap of gaps) expect(gap).toBeGreaterThan(300);
    expect(seen.results.slice(1).every(({ dropped }) => dropped > 0)).toBe(true);
  });

  test('keeps to its frames a second', async () => {
    await using opened = await openStreamPage();

    const times = await opened.page.evaluate(async () => {
      const { model, client, video } = window as unknown as StreamPage;
      const times: number[] = [];
      for await (const { frame } of model.classifyStream(video, { maxFps: 5 })) {
        times.push(frame.mediaTimeMs);
        if (times.length === 5) break;
      }
      await client.close();
      return times;
    });

    // Four times 200 ms of the video, where every frame of it would be four times 100; single frames come late on a busy machine.
    expect((times.at(-1) ?? 0) - (times[0] ?? 0)).toBeGreaterThan(600);
  });

  test('of frames ends with them, the last one classified, every one closed', async () => {
    await using opened = await openStreamPage();

    const seen = await opened.page.evaluate(async () => {
      const { model, client, canvas } = window as unknown as StreamPage;
      const frames = Array.from({ length: 20 }, (_, index) => new VideoFrame(canvas, { timestamp: index * 33_000 }));
      const source = new ReadableStream<VideoFrame>({
        start(controller) {
          for (const frame of frames) controller.enqueue(frame);
          controller.close();
        },
      });
      const results = [];
      for await (const { frame } of model.classifyStream(source)) results.push(frame);
      await client.close();
      return { results, open: frames.filter(({ codedWidth }) => codedWidth > 0).length };
    });

    expect(seen.open).toBe(0);
    expect(seen.results.at(-1)?.mediaTimeMs).toBeCloseTo(19 * 33, 3);
    expect(seen.results.length + seen.results.reduce((sum, { dropped }) => sum + dropped, 0)).toBe(20);
  });

  test.each(['video', 'track'] as const)('of a %s rejects with the reason of an abort, and leaves its source as it was', async (kind) => {
    await using opened = await openStreamPage();

    const seen = await opened.page.evaluate(async (kind) => {
      const { model, client, track, [kind]: source } = window as unknown as StreamPage;
      const abort = new AbortController();
      const reason = new Error('the user left');
      let results = 0;
      const caught = await (async () => {
        for await (const _ of model.classifyStream(source, { signal: abort.signal })) {
          results += 1;
          setTimeout(() => abort.abort(reason));
        }
      })().catch((error) => error);
      const { predictions } = await model.classify('/photos/boat.png', { topK: 1 });
      await client.close();
      return { isReason: caught === reason, results, track: track.readyState, label: predictions[0]?.label };
    }, kind);

    expect(seen).toMatchObject({ isReason: true, track: 'live', label: expect.any(String) });
    expect(seen.results).toBeGreaterThan(0);
  });

  test('of a video ends when the video ends, and one of something else is refused by name', async () => {
    await using opened = await openStreamPage();

    const seen = await opened.page.evaluate(async () => {
      const { model, client, track } = window as unknown as StreamPage;
      const recorder = new MediaRecorder(new MediaStream([track]));
      const pieces: Blob[] = [];
      recorder.addEventListener('dataavailable', ({ data }) => pieces.push(data));
      recorder.start();
      setTimeout(() => recorder.stop(), 600);
      await new Promise((resolve) => recorder.addEventListener('stop', resolve));
      const clip = Object.assign(document.createElement('video'), { muted: true, src: URL.createObjectURL(new Blob(pieces)) });
      await clip.play();
      let results = 0;
      for await (const _ of model.classifyStream(clip)) results += 1;
      const code = await model
        .classifyStream('no stream' as never)
        .next()
        .catch((error) => error.code);
      await client.close();
      return { results, code, isEnded: clip.ended };
    });

    expect(seen).toMatchObject({ code: 'invalid-argument', isEnded: true });
    expect(seen.results).toBeGreaterThan(0);
  });
});

import type { BackendId } from '../../src/core/index.ts';
import { openTestPage, type TestBrowser, type TestPageOptions } from './browser.ts';

/** A task of the page's thread that took more than 50 ms. */
export interface LongTask {
  /** What was done last before it ended. */
  readonly during: string;
  readonly ms: number;
}

/**
 * Opens a model on a fresh page and classifies every kind of photo, most of 12 megapixels.
 * @returns the long tasks of the page's thread from the client's first moment on, and the phases that were seen.
 */
export async function watchLongTasks(browser: TestBrowser, options: TestPageOptions, name: string, backend: BackendId) {
  await using opened = await openTestPage(browser, options);
  return await opened.page.evaluate(
    async ({ name, backend }) => {
      // Photos are made before anything is measured.
      const canvas = Object.assign(document.createElement('canvas'), { width: 4_000, height: 3_000 });
      const context = canvas.getContext('2d')!;
      for (let index = 0; index < 300; index++) {
        context.fillStyle = `hsl(${index * 7} 60% 50%)`;
        context.fillRect((index * 37) % 4_000, (index * 91) % 3_000, 400, 300);
      }
      const blob = await new Promise<Blob>((resolve) => canvas.toBlob((made) => resolve(made!), 'image/jpeg'));
      const image = new Image();
      image.src = URL.createObjectURL(blob);
      await image.decode();
      const moving = Object.assign(document.createElement('canvas'), { width: 640, height: 480 });
      const painting = setInterval(() => moving.getContext('2d')?.fillRect(performance.now() % 600, 0, 9, 9), 30);
      const video = Object.assign(document.createElement('video'), { muted: true, srcObject: moving.captureStream(30) });
      await video.play();
      clearInterval(painting);
      const bitmap = await createImageBitmap(blob);
      const photos = {
        blob,
        file: new File([blob], 'photo.jpg'),
        image,
        canvas,
        video,
        frame: new VideoFrame(bitmap, { timestamp: 0 }),
        bitmap,
        data: context.getImageData(0, 0, 4_000, 3_000),
      };
      const pause = () => new Promise((resolve) => setTimeout(resolve, 100));
      await pause();

      const steps: { at: number; name: string }[] = [];
      const enter = (step: string) => void steps.push({ at: performance.now(), name: step });
      const tasks: { during: string; ms: number }[] = [];
      const take = (entries: PerformanceEntryList) => {
        for (const { startTime, duration } of entries) {
          const during = steps.findLast(({ at }) => at <= startTime + duration)?.name;
          if (during) tasks.push({ during, ms: Math.round(duration) });
        }
      };
      const observer = new PerformanceObserver((list) => take(list.getEntries()));
      observer.observe({ type: 'longtask' });
      enter('start');
      const client = window.nearfar.createClient({ models: '/models', backends: [backend], allowSoftwareAdapter: true });
      client.addEventListener('phase', ({ detail }) => enter(detail.phase));
      const model = await client.open(name, { mode: 'only-on-device' });
      for (const [kind, photo] of Object.entries(photos)) {
        await pause();
        enter(kind);
        await model.classify(photo, { transfer: true });
      }
      await pause();
      enter('close');
      await client.close();
      await pause();
      take(observer.takeRecords());
      return { tasks, steps: steps.map(({ name }) => name) };
    },
    { name, backend },
  );
}

/** The steps in which each of three visits had a long task: a machine that is busy with something else makes one now and then. */
export async function stepsWithLongTasks(visit: () => ReturnType<typeof watchLongTasks>): Promise<LongTask[]> {
  let always: LongTask[] | undefined;
  for (let round = 0; round < 3 && always?.length !== 0; round++) {
    const { tasks } = await visit();
    always = (always ?? tasks).filter(({ during }) => tasks.some((task) => task.during === during));
  }
  return always ?? [];
}

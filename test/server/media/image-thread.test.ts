import { monitorEventLoopDelay } from 'node:perf_hooks';
import sharp, { type Sharp } from 'sharp';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createTensor, type ImageInput } from '../../../src/core/index.ts';
import { answerPictureHere, ImageThread, type PrepareImage, prepareImageHere } from '../../../src/server/media/index.ts';
import { taskSource } from '../../support/task-source.ts';

const input: ImageInput = {
  name: 'image',
  resize: { shorterSide: 40, filter: 'bilinear', antialias: true },
  crop: [32, 32],
  layout: 'NHWC',
  scale: 1 / 255,
  mean: [0, 0, 0],
  std: [1, 1, 1],
};

let thread: ImageThread;

beforeEach(() => {
  thread = new ImageThread({ maxWaiting: 3 });
});

afterEach(() => thread[Symbol.asyncDispose]());

/** Noise, so that every pixel counts. */
function noise(width: number, height: number, channels: 3 | 4): Sharp {
  const data = Uint8Array.from({ length: width * height * channels }, (_, index) => (index * 2654435761) >>> 24);
  return sharp(data, { raw: { width, height, channels } });
}

describe('the image thread', () => {
  test.each([
    ['a JPEG', noise(300, 200, 3).jpeg()],
    ['a PNG with alpha', noise(61, 97, 4).png()],
    ['a picture of the size it needs', noise(40, 40, 3).png()],
    ['a small WebP', noise(5, 4, 3).webp({ lossless: true })],
  ])('prepares %s to the same bytes as the main thread would', async (_, picture) => {
    const bytes = await picture.toBuffer();
    const expected = await prepareImageHere(new Uint8Array(bytes), input);

    const prepared = await thread.prepare(new Uint8Array(bytes), input);

    expect(prepared).toEqual(expected);
  });

  test('hands errors on with code and message', async () => {
    const preparing = thread.prepare(new TextEncoder().encode('no picture'), input);

    await expect(preparing).rejects.toMatchObject({ code: 'invalid-argument', message: expect.stringContaining('expected a JPEG') });
  });

  test('leaves a small Buffer, a part of the pool of all, where it is', async () => {
    const small = Buffer.from('no picture');

    await expect(thread.prepare(small, input)).rejects.toMatchObject({ code: 'invalid-argument' });

    expect(small.toString()).toBe('no picture');
  });

  test('rejects at once when nobody waits any more, and goes on with the next', async () => {
    const bytes = new Uint8Array(await noise(300, 200, 3).png().toBuffer());
    const client = new AbortController();
    const reason = new TypeError('the client hung up');

    const abandoned = [thread.prepare(bytes.slice(), input, client), thread.prepare(bytes.slice(), input, client)];
    client.abort(reason);
    const outcomes = await Promise.allSettled(abandoned);
    const next = await thread.prepare(bytes, input);

    expect(outcomes.map((outcome) => outcome.status === 'rejected' && outcome.reason === reason)).toEqual([true, true]);
    expect(next.image.data).toHaveLength(32 * 32 * 3);
    await expect(thread.prepare(bytes, input, client)).rejects.toBe(reason);
  });

  test('refuses more than may wait, and everything once it is closed', async () => {
    const bytes = new Uint8Array(await noise(300, 200, 3).png().toBuffer());

    const outcomes = await Promise.allSettled(Array.from({ length: 4 }, () => thread.prepare(bytes.slice(), input)));
    const waiting = thread.prepare(bytes.slice(), input);
    const closing = Promise.all([expect(waiting).rejects.toMatchObject({ code: 'unavailable' }), thread[Symbol.asyncDispose]()]);

    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'fulfilled', 'rejected']);
    expect(outcomes[3]).toMatchObject({ reason: { code: 'overloaded', details: { limit: 3 } } });
    await closing;
    await expect(thread.prepare(bytes, input)).rejects.toMatchObject({ code: 'unavailable' });
  });

  test.each(['json', 'png', 'pixels'] as const)(
    'answers with a mask as the main thread would, as %s, and leaves the outputs as they are',
    async (form) => {
      const { manifest } = taskSource(
        'image-segmentation',
        { input: { ...input, resize: { size: [2, 2], filter: 'bilinear', antialias: true } }, output: { name: 'y', layout: 'NHWC' } },
        { inputs: { image: ['float32', [-1, 2, 2, 3]] } },
      );
      const outputs = { y: createTensor('float32', [1, 2, 2, 2], Float32Array.of(0, 1, 1, 0, 0, 1, 1, 0)) };
      const picture = { width: 5, height: 3 };
      const job = {
        task: 'image-segmentation',
        version: { digest: form, manifest, files: new Map() },
        outputs,
        picture,
        options: {},
        form,
      } as const;
      const expected = await answerPictureHere(job);

      const answer = await thread.answer(job);

      expect(answer).toEqual(expected);
      expect(answer.output).toMatchObject({
        segments: [
          { label: '0', pixels: 9 },
          { label: '1', pixels: 6 },
        ],
      });
      expect(outputs.y.data).toHaveLength(8);
    },
  );

  test('keeps the event loop free while it prepares 12 megapixels, which the main thread would block', async () => {
    const picture = sharp({ create: { width: 4000, height: 3000, channels: 3, background: '#2060a0' } });
    const bytes = new Uint8Array(await picture.png({ compressionLevel: 1 }).toBuffer());
    const here = await blockedShare(prepareImageHere, bytes);
    await thread.prepare(bytes.slice(), input); // its start is not what is measured

    // The best of some: a busy machine may keep any thread waiting now and then.
    const shares = [];
    for (let round = 0; round < 4; round++) shares.push(await blockedShare(thread.prepare, bytes));

    expect(Math.min(...shares)).toBeLessThan(here / 3);
  });
});

/** The longest time that the event loop stood still, as a share of the time the picture took. */
async function blockedShare(prepare: PrepareImage, bytes: Uint8Array): Promise<number> {
  const own = bytes.slice();
  const delays = monitorEventLoopDelay({ resolution: 1 });
  delays.enable();
  const startedAt = performance.now();
  await prepare(own, input);
  const tookMs = performance.now() - startedAt;
  // The delay that the last block made is known in the next turn of the loop.
  await new Promise((resolve) => setTimeout(resolve, 2));
  delays.disable();
  return delays.max / 1e6 / tookMs;
}

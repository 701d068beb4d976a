import { expose } from 'comlink';
import { openDB } from 'idb';
import type { HandModel } from '../models.ts';
import type { HandFiles, HandLibrary, OpenHandModel } from './hand-model.ts';

// What a careful application would write without nearfar: its own worker, bytes cached in IndexedDB and checked by their
// digests, the library called directly.

async function loadLibrary(engine: HandModel['engine']): Promise<HandLibrary> {
  return engine === 'tfjs' ? (await import('./hand-tfjs.ts')).tfjs : (await import('./hand-onnx.ts')).onnx;
}

async function openFiles({ entry, weights }: HandModel): Promise<HandFiles> {
  const database = await openDB('by-hand', 1, { upgrade: (fresh) => void fresh.createObjectStore('files') });
  const load = async ({ url, digest }: HandModel['entry']): Promise<ArrayBuffer> => {
    const cached: Blob | undefined = await database.get('files', url);
    const blob = cached ?? (await (await fetch(url)).blob());
    const bytes = await blob.arrayBuffer();
    if ((await digestOf(bytes)) !== digest) throw new Error(`${url} is not what it should be`);
    if (!cached) await database.put('files', blob, url);
    return bytes;
  };
  const files = await Promise.all([load(entry), weights && load(weights)]);
  database.close();
  return { entry: files[0], weights: files[1] };
}

async function digestOf(bytes: ArrayBuffer): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return `sha256:${Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}

async function open(hand: HandModel): Promise<OpenHandModel> {
  const library = await loadLibrary(hand.engine);
  const [files] = await Promise.all([openFiles(hand), library.start()]);
  return library.open(hand, files);
}

/** Decodes and scales by the browser's own means, which is the fastest way and not the same on every browser. */
async function readPhoto(url: string, { shape, mean, std }: HandModel): Promise<Float32Array> {
  const isNhwc = shape[3] === 3;
  const [height, width] = (isNhwc ? [shape[1], shape[2]] : [shape[2], shape[3]]) as [number, number];
  const bitmap = await createImageBitmap(await (await fetch(url)).blob());
  const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
  if (!context) throw new Error('no canvas');
  context.drawImage(bitmap, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  const area = width * height;
  const values = new Float32Array(area * 3);
  for (let pixel = 0; pixel < area; pixel++) {
    for (let channel = 0; channel < 3; channel++) {
      const to = isNhwc ? pixel * 3 + channel : channel * area + pixel;
      values[to] = (data[pixel * 4 + channel]! / 255 - mean[channel]!) / std[channel]!;
    }
  }
  return values;
}

let opened: OpenHandModel | undefined;

const api = {
  /** From nothing to an answer. @returns indices of the five best classes. */
  async answer(hand: HandModel, photo: string): Promise<number[]> {
    const [model, values] = await Promise.all([open(hand), readPhoto(photo, hand)]);
    model.prepare(values);
    const scores = await model.run();
    const order = Array.from(scores.keys()).sort((a, b) => scores[b]! - scores[a]!);
    return order.slice(0, 5);
  },
  /** Opens a model and keeps it, with a tensor ready to be run. */
  async keep(hand: HandModel): Promise<void> {
    opened = await open(hand);
    const length = hand.shape.reduce((product, size) => product * size, 1);
    opened.prepare(Float32Array.from({ length }, (_, index) => ((index * 2_654_435_761) % 256) / 128 - 1));
  },
  /** @returns milliseconds of one run in this worker, the result read back. */
  async timeRun(): Promise<number> {
    if (!opened) throw new Error('keep() comes first');
    const startedAt = performance.now();
    await opened.run();
    return performance.now() - startedAt;
  },
};

export type HandWorkerApi = typeof api;
expose(api);

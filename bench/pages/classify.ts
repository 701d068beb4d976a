import { wrap } from 'comlink';
import { type BackendId, createClient, type Lock, type Model, type RunReport } from 'nearfar';
import type { HandModel } from '../models.ts';
import type { HandWorkerApi } from './hand-worker.ts';

// A model opened twice in one page: by nearfar, and by hand in a worker of its own.

export interface ClassifyTask {
  readonly name: string;
  readonly lock: Lock;
  readonly backend: BackendId;
  readonly hand: HandModel;
  /** Sides of a picture that needs no scaling. */
  readonly side: number;
}

export interface ClassifySample {
  readonly nearfarMs: number;
  readonly rawMs: number;
  /** What the call to that worker took beyond the run: one trip there and back. */
  readonly rawTripMs: number;
  readonly timing: RunReport['timing'];
}

async function measure({ name, lock, backend, hand, side }: ClassifyTask, warmUps: number, pairs: number): Promise<ClassifySample[]> {
  const client = createClient({ models: '/models', lock, backends: [backend] });
  const worker = new Worker(new URL('./hand-worker.ts', import.meta.url), { type: 'module' });
  try {
    const raw = wrap<HandWorkerApi>(worker);
    const [model] = await Promise.all([client.open(name, { mode: 'only-on-device' }), raw.keep(hand)]);
    const picture = drawPicture(side);
    const samples: ClassifySample[] = [];
    for (let pair = -warmUps; pair < pairs; pair++) {
      const near = await timeClassify(model, picture);
      const startedAt = performance.now();
      const rawMs = await raw.timeRun();
      const rawTripMs = performance.now() - startedAt - rawMs;
      if (pair >= 0) samples.push({ ...near, rawMs, rawTripMs });
    }
    return samples;
  } finally {
    worker.terminate();
    await client.close();
  }
}

async function timeClassify(model: Model, picture: ImageData): Promise<Pick<ClassifySample, 'nearfarMs' | 'timing'>> {
  const startedAt = performance.now();
  const { run } = await model.classify(picture);
  return { nearfarMs: performance.now() - startedAt, timing: run.timing };
}

function drawPicture(side: number): ImageData {
  const picture = new ImageData(side, side);
  for (let byte = 0; byte < picture.data.length; byte++) picture.data[byte] = byte % 4 === 3 ? 255 : (byte * 2_654_435_761) >>> 24;
  return picture;
}

declare global {
  interface Window {
    measureClassify: typeof measure;
  }
}

window.measureClassify = measure;
document.documentElement.dataset['ready'] = 'true';

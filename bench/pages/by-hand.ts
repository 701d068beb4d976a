import { wrap } from 'comlink';
import type { HandModel } from '../models.ts';
import type { HandWorkerApi } from './hand-worker.ts';
import { taskOfPage } from './task.ts';

// The same as nearfar.ts without nearfar.

async function answer(hand: HandModel): Promise<{ ms: number; top: number | undefined }> {
  const worker = wrap<HandWorkerApi>(new Worker(new URL('./hand-worker.ts', import.meta.url), { type: 'module' }));
  const [top] = await worker.answer(hand, '/photo.jpg');
  return { ms: performance.now(), top };
}

Object.assign(window, { result: answer(taskOfPage()) });

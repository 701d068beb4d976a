import type { StoreTask } from './store-worker.ts';

/** Each task has a worker of its own, as each visit has. */
window.runStore = (task) =>
  new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./store-worker.ts', import.meta.url), { type: 'module' });
    worker.onmessage = ({ data }: MessageEvent<{ ms?: number; error?: string }>) => {
      worker.terminate();
      if (data.ms === undefined) reject(new Error(data.error));
      else resolve(data.ms);
    };
    worker.postMessage(task);
  });

declare global {
  interface Window {
    runStore: (task: StoreTask) => Promise<number>;
  }
}

document.documentElement.dataset['ready'] = 'true';

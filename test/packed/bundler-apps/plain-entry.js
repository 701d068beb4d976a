import { showAnswer } from './show-answer.js';

const workerUrl = new URL('./vendor/worker.js', import.meta.url);

showAnswer({ worker: () => new Worker(workerUrl, { type: 'module' }) });

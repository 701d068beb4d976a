import { showAnswer } from './show-answer.js';

const workerUrl = new URL('./worker.js', import.meta.url);

showAnswer({ worker: () => new Worker(workerUrl, { type: 'module' }) });

export { createMediaWorker, type MediaWorkerOptions } from './media-worker.ts';

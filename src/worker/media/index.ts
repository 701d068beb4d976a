export { createMediaWorker } from './media-worker.ts';

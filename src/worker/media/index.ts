export { createMediaWorker, type MediaWorkerOptions, type Remote, type RemoteOptions } from './media-worker.ts';

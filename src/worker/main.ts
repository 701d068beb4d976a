import { expose } from 'comlink';
import { isRoleMessage, type WorkerRole } from '../core/index.ts';
import { serveDevice } from './serve-device.ts';
import { serveMedia } from './serve-media.ts';

// The package's entry `nearfar/worker`: one file for both workers, so that applications and bundlers have one URL to
// care about. The first message says which of the two this one is. Both are in it: another script would be fetched
// before the worker can say a word.

addEventListener('message', start);

function start({ data }: MessageEvent): void {
  if (!isRoleMessage(data)) return;
  removeEventListener('message', start);
  expose(serve[data.nearfarRole]());
}

const serve = { device: serveDevice, media: serveMedia } satisfies Record<WorkerRole, () => object>;

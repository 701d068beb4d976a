import { expose } from 'comlink';
import { isRoleMessage, type WorkerRole } from '../core/index.ts';

// The package's entry `nearfar/worker`: one file for both workers, so that applications and bundlers have one URL to
// care about. The first message says which of the two this one is; only that role's code is then loaded.

addEventListener('message', start);

function start({ data }: MessageEvent): void {
  if (!isRoleMessage(data)) return;
  removeEventListener('message', start);
  const release = holdMessages();
  loadRole(data.nearfarRole).then(
    (api) => {
      expose(api);
      release();
    },
    // A rejection would stay inside the worker: an error tells the main thread that this worker cannot start.
    (error: unknown) => reportError(error),
  );
}

async function loadRole(role: WorkerRole): Promise<object> {
  switch (role) {
    case 'device':
      return (await import('./serve-device.ts')).serveDevice();
    case 'media':
      return (await import('./serve-media.ts')).serveMedia();
  }
}

/** Keeps the calls that come while the role's code is loading; `release` hands them on in their order. */
function holdMessages(): () => void {
  const held: MessageEvent[] = [];
  const hold = (event: MessageEvent) => void held.push(event);
  addEventListener('message', hold);
  return () => {
    removeEventListener('message', hold);
    for (const event of held) dispatchEvent(event);
  };
}

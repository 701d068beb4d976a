import type { BackendId, Mode } from 'nearfar';
import { element } from './dom.ts';

/** Lets the device be lost where there is one, and else says why it cannot be; `backend` is the one that is ready. */
export function showLosable(mode: Mode, backend: BackendId | undefined): void {
  const reason = obstacle(mode, backend);
  element('lose-gpu', HTMLButtonElement).disabled = reason !== '';
  element('fault-note', HTMLParagraphElement).textContent = reason;
}

function obstacle(mode: Mode, backend: BackendId | undefined): string {
  if (mode === 'only-server') return 'No device to lose: the server answers alone.';
  if (!backend) return 'No device to lose yet: it is getting ready.';
  return backend.endsWith('-webgpu') ? '' : `No device to lose: ${backend} runs on the processor, not on a GPU.`;
}

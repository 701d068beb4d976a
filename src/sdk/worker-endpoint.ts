import type { WorkerRole } from '../core/index.ts';

/** A worker as the SDK uses it; a `Worker` is one, tests pass stand-ins. */
export interface WorkerEndpoint {
  postMessage(message: unknown, transfer?: Transferable[]): void;
  addEventListener(type: 'message' | 'messageerror' | 'error', listener: (event: Event) => void): void;
  removeEventListener(type: 'message' | 'messageerror' | 'error', listener: (event: Event) => void): void;
  terminate(): void;
}

export type WorkerFactory = (role: WorkerRole) => WorkerEndpoint;

/** The worker that ships with the package. Bundlers find it by this very expression: keep it in one piece. */
export function createPackagedWorker(): Worker {
  return new Worker(new URL('../worker/main.js', import.meta.url), { type: 'module' });
}

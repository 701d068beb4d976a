import { NearfarError } from '../core/index.ts';

/** The calls under way that the main thread may cancel by their id. */
export interface Calls {
  run<T>(callId: number, work: (signal: AbortSignal) => Promise<T>): Promise<T>;
  /** Ends a call: it rejects with `cancelled` as soon as its work notices. An unknown id is ignored. */
  cancel(callId: number): void;
}

export function createCalls(): Calls {
  const controllers = new Map<number, AbortController>();
  return {
    async run(callId, work) {
      const controller = new AbortController();
      controllers.set(callId, controller);
      try {
        return await work(controller.signal);
      } finally {
        controllers.delete(callId);
      }
    },
    cancel(callId) {
      controllers.get(callId)?.abort(new NearfarError('cancelled', 'the call was cancelled'));
    },
  };
}

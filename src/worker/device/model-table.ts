import { type BackendId, NearfarError, type Pin, type WorkerEvent } from '../../core/index.ts';
import type { LoadedModel } from './open-model.ts';

/** The open models by handle; handles of the same version on the same backend share one loaded model. */
export interface ModelTable {
  /** Gives a new handle for a model; until it is removed `notify` hears of its device and `held` is not given back. */
  add(model: LoadedModel, notify: (event: WorkerEvent) => void, held: Disposable): number;
  /** @throws {NearfarError} `failed-precondition` for a handle that was removed or never given. */
  use(handle: number): LoadedModel;
  /** Removes a handle, twice is harmless. Returns the model when it was the last handle on it, for disposal. */
  remove(handle: number): LoadedModel | undefined;
  findShareable(this: void, pin: Pin, backend: BackendId): LoadedModel | undefined;
  isOpen(digest: string): boolean;
  size(): number;
}

interface Opening {
  readonly model: LoadedModel;
  readonly stopListening: () => void;
  readonly held: Disposable;
}

export function createModelTable(): ModelTable {
  const openings = new Map<number, Opening>();
  let lastHandle = 0;
  const find = (isWanted: (model: LoadedModel) => boolean) => {
    for (const { model } of openings.values()) if (isWanted(model)) return model;
    return undefined;
  };
  return {
    add(model, notify, held) {
      lastHandle++;
      const stopListening = model.lease.onLost((message) => notify({ type: 'device-lost', backend: model.backend, message }));
      openings.set(lastHandle, { model, stopListening, held });
      return lastHandle;
    },
    use(handle) {
      const opening = openings.get(handle);
      if (opening) return opening.model;
      throw new NearfarError('failed-precondition', 'the model is closed', { details: { handle } });
    },
    remove(handle) {
      const opening = openings.get(handle);
      if (!opening) return undefined;
      openings.delete(handle);
      opening.stopListening();
      opening.held[Symbol.dispose]();
      return find((model) => model === opening.model) ? undefined : opening.model;
    },
    findShareable: (pin, backend) => find((model) => model.pin.digest === pin.digest && model.backend === backend && !model.lease.isLost()),
    isOpen: (digest) => find((model) => model.pin.digest === digest) !== undefined,
    size: () => openings.size,
  };
}

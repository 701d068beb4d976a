import { type BackendId, NearfarError, type Pin, type WorkerEvent } from '../../core/index.ts';
import type { LoadedModel } from './open-model.ts';
import { type LoadAgain, type ModelLoan, Resident } from './resident.ts';

/** The open models by handle; handles of the same version on the same backend share one loaded model. */
export interface ModelTable {
  /** Gives a new handle for a model; until it is removed `notify` hears of its device, and that it was unloaded, and `held` is not given back. */
  add(model: LoadedModel, notify: (event: WorkerEvent) => void, held: Disposable, load: LoadAgain): number;
  /** @throws {NearfarError} `failed-precondition` for a handle that was removed or never given; what loading it again throws. */
  use(handle: number): Promise<ModelLoan>;
  /** Removes a handle, twice is harmless. Returns the model when it was the last handle on it, to be closed. */
  remove(handle: number): Resident | undefined;
  findShareable(this: void, pin: Pin, backend: BackendId): LoadedModel | undefined;
  isOpen(digest: string): boolean;
  size(): number;
  /**
   * Keeps room for a model that is about to be loaded until the reservation is disposed: under the budget, models that no call
   * uses are unloaded, the one used longest ago first. One that is larger than the budget has it for itself.
   */
  makeRoom(this: void, bytes: number, budgetBytes: number): Promise<Disposable>;
}

interface Opening {
  readonly digest: string;
  readonly backend: BackendId;
  readonly resident: Resident;
  readonly notify: (event: WorkerEvent) => void;
  readonly held: Disposable;
}

export function createModelTable(): ModelTable {
  const openings = new Map<number, Opening>();
  let lastHandle = 0;
  let lastUse = 0;
  let reservedBytes = 0;
  const residents = () => [...new Set([...openings.values()].map(({ resident }) => resident))];
  const models = () => residents().flatMap(({ model }) => model ?? []);
  const touch = (resident: Resident) => {
    lastUse++;
    resident.lastUse = lastUse;
  };
  const unloadOne = async (budgetBytes: number): Promise<boolean> => {
    const [oldest] = residents()
      .filter(({ model, isIdle }) => model && isIdle)
      .sort((a, b) => a.lastUse - b.lastUse);
    if (!oldest?.model) return false;
    const { manifest, bytes } = oldest.model;
    await oldest.unload();
    const { name, version } = manifest;
    const reason = `the memory budget of ${budgetBytes} bytes is used up; the model is loaded again when it is called`;
    oldest.tell({ type: 'eviction', from: 'memory', name, version, bytes, reason });
    return true;
  };
  return {
    add(model, notify, held, load) {
      const { backend, pin } = model;
      // One that was unloaded meanwhile is there again with this one.
      const isSame = ({ digest, backend: other, resident }: Opening) =>
        digest === pin.digest && other === backend && (resident.model ?? model) === model;
      const resident = [...openings.values()].find(isSame)?.resident ?? new Resident(load);
      resident.take(model);
      resident.listeners.add(notify);
      touch(resident);
      lastHandle++;
      openings.set(lastHandle, { digest: pin.digest, backend, resident, notify, held });
      return lastHandle;
    },
    async use(handle) {
      const resident = openings.get(handle)?.resident;
      if (!resident) throw new NearfarError('failed-precondition', 'the model is closed', { details: { handle } });
      touch(resident);
      return resident.lend();
    },
    remove(handle) {
      const opening = openings.get(handle);
      if (!opening) return undefined;
      const { resident, notify, held } = opening;
      openings.delete(handle);
      resident.listeners.delete(notify);
      held[Symbol.dispose]();
      return residents().includes(resident) ? undefined : resident;
    },
    findShareable: (pin, backend) =>
      models().find((model) => model.pin.digest === pin.digest && model.backend === backend && !model.lease.isLost()),
    isOpen: (digest) => [...openings.values()].some((opening) => opening.digest === digest),
    size: () => openings.size,
    async makeRoom(bytes, budgetBytes) {
      reservedBytes += bytes;
      const neededBytes = () => models().reduce((sum, model) => sum + model.bytes, reservedBytes);
      while (neededBytes() > budgetBytes && (await unloadOne(budgetBytes)));
      let isGivenBack = false;
      return {
        [Symbol.dispose]: () => {
          if (!isGivenBack) reservedBytes -= bytes;
          isGivenBack = true;
        },
      };
    },
  };
}

import { type BackendId, type Engine, NearfarError } from '../../core/index.ts';

export interface OpenEngineOptions {
  readonly allowSoftwareAdapter: boolean;
  readonly signal: AbortSignal;
}

export type OpenEngine = (backend: BackendId, options: OpenEngineOptions) => Promise<Engine>;

/** A counted loan of an engine; the last one given back closes it. */
export interface EngineLease extends AsyncDisposable {
  readonly engine: Engine;
  isLost(): boolean;
  /** Calls back when the engine's device is lost; the function returned stops that. */
  onLost(listener: (reason: string) => void): () => void;
}

/** One engine per backend, shared by the models that run on it. */
export interface EnginePool {
  /** @throws {NearfarError} `device-unfit`, `unsupported`; rejects with `signal.reason` when aborted. */
  lend(backend: BackendId, options: OpenEngineOptions): Promise<EngineLease>;
  /** Engines that live. */
  engines(): readonly Engine[];
}

interface Slot {
  readonly engine: Engine;
  users: number;
  isLost: boolean;
  /** Here and not on `engine.lost`, which would keep what each model ever registered. */
  readonly listeners: Set<(reason: string) => void>;
}

export function createEnginePool(openEngine: OpenEngine): EnginePool {
  const slots = new Map<BackendId, Slot>();
  /** Opening and closing of one backend in turn: the libraries keep one of each per worker. */
  const turns = new Map<BackendId, Promise<unknown>>();

  const inTurn = <T>(backend: BackendId, work: () => Promise<T>): Promise<T> => {
    const turn = (turns.get(backend) ?? Promise.resolve()).then(work);
    turns.set(
      backend,
      turn.catch(() => undefined),
    );
    return turn;
  };
  const open = async (backend: BackendId, options: OpenEngineOptions): Promise<Slot> => {
    const known = slots.get(backend);
    if (known && !known.isLost) {
      assertAllowed(known.engine, options);
      return known;
    }
    const slot: Slot = { engine: await openEngine(backend, options), users: 0, isLost: false, listeners: new Set() };
    void slot.engine.lost.then((reason) => {
      slot.isLost = true;
      for (const listener of slot.listeners) listener(reason);
    });
    slots.set(backend, slot);
    return slot;
  };
  const giveBack = async (backend: BackendId, slot: Slot) => {
    slot.users--;
    if (slot.users > 0) return;
    if (slots.get(backend) === slot) slots.delete(backend);
    await slot.engine[Symbol.asyncDispose]();
  };
  return {
    lend: (backend, options) =>
      inTurn(backend, async () => {
        const slot = await open(backend, options);
        slot.users++;
        let isReturned = false;
        return {
          engine: slot.engine,
          isLost: () => slot.isLost,
          onLost(listener) {
            slot.listeners.add(listener);
            return () => slot.listeners.delete(listener);
          },
          async [Symbol.asyncDispose]() {
            if (isReturned) return;
            isReturned = true;
            await inTurn(backend, () => giveBack(backend, slot));
          },
        };
      }),
    engines: () => [...slots.values()].map(({ engine }) => engine),
  };
}

function assertAllowed({ backend, device }: Engine, { allowSoftwareAdapter }: OpenEngineOptions): void {
  if (allowSoftwareAdapter || !device.isFallbackAdapter) return;
  throw new NearfarError('device-unfit', `${backend} runs on a software adapter, which was not allowed`, { details: { ...device } });
}

/** How far chunks have come in the tab that downloads them: their digests and the bytes that have arrived. */
export type ChunkNews = readonly (readonly [digest: string, bytes: number])[];

/** The turn of this worker to download something; disposing it hands the turn on. */
export interface Flight extends Disposable {
  /** Tells the workers that wait for their turn. */
  tell(news: ChunkNews): unknown;
}

/**
 * What the workers of one origin, in this tab and in others, agree on. A worker that ends or crashes gives back what it
 * held: the browser sees to that. Where the browser has no locks, each worker is for itself.
 */
export interface Tabs {
  /** Waits for the turn to download `key`; meanwhile `hear` is told how far the worker is whose turn it is. */
  takeTurn(key: string, signal: AbortSignal, hear: (news: ChunkNews) => void): Promise<Flight>;
  /** The turn to load `key`, if no other worker has it; undefined where one has, or where there are no locks. */
  tryTurn(key: string): Promise<Disposable | undefined>;
  /** Marks a version, by its digest, as in use until this is disposed. Waits where another worker is just evicting it. */
  hold(digest: string, signal: AbortSignal): Promise<Disposable>;
  /** Does something to a version that no worker uses or comes to use meanwhile; undefined where one does. */
  unlessHeld<T>(digest: string, work: () => Promise<T>): Promise<T | undefined>;
  /** Digests of the versions that any worker uses. */
  held(): Promise<ReadonlySet<string>>;
}

/**
 * A worker whose turn it is and that says nothing for this long hangs: it is waited for no longer. More than a
 * connection may stall before it is given up and tried again.
 */
const patienceMs = 30_000;

const turnName = (key: string) => `nearfar download ${key}`;
const holdPrefix = 'nearfar use ';

/** @param locks `navigator.locks`; absent in insecure contexts and outside browsers. */
export function openTabs(locks: LockManager | undefined, waitMs = patienceMs): Tabs {
  return locks ? withLocks(locks, waitMs) : alone();
}

function withLocks(locks: LockManager, waitMs: number): Tabs {
  /** A lock until it is disposed. @throws `signal.reason` when aborted; what the browser says where it refuses locks. */
  const acquire = (name: string, options: LockOptions & { signal: AbortSignal }) =>
    new Promise<Disposable>((resolve, reject) => {
      const hold = () => new Promise<void>((release) => resolve({ [Symbol.dispose]: () => release() }));
      locks.request(name, options, hold).catch(reject);
    });
  return {
    async takeTurn(key, signal, hear) {
      const name = turnName(key);
      const channel = new BroadcastChannel(name);
      const impatience = new AbortController();
      const wait = () => setTimeout(() => impatience.abort(), waitMs);
      let timer = wait();
      channel.onmessage = ({ data }: MessageEvent<ChunkNews>) => {
        clearTimeout(timer);
        timer = wait();
        hear(data);
      };
      const fly = (turn?: Disposable): Flight => {
        channel.onmessage = null;
        let isOver = false;
        return {
          tell: (news) => isOver || channel.postMessage(news),
          [Symbol.dispose]() {
            isOver = true;
            channel.close();
            turn?.[Symbol.dispose]();
          },
        };
      };
      try {
        return fly(await acquire(name, { signal: AbortSignal.any([signal, impatience.signal]) }));
      } catch {
        // The other worker hangs, or this page may not have locks: it downloads for itself.
        if (!signal.aborted) return fly();
        channel.close();
        throw signal.reason;
      } finally {
        clearTimeout(timer);
      }
    },
    async tryTurn(key) {
      return new Promise<Disposable | undefined>((resolve, reject) => {
        const hold = (lock: Lock | null) =>
          new Promise<void>((release) => {
            resolve(lock ? { [Symbol.dispose]: () => release() } : undefined);
            if (!lock) release();
          });
        locks.request(`nearfar load ${key}`, { ifAvailable: true }, hold).catch(reject);
      }).catch(() => undefined);
    },
    async hold(digest, signal) {
      try {
        return await acquire(holdPrefix + digest, { mode: 'shared', signal });
      } catch {
        signal.throwIfAborted();
        return { [Symbol.dispose]: () => undefined };
      }
    },
    unlessHeld: (digest, work) =>
      locks.request(holdPrefix + digest, { ifAvailable: true }, (lock) => (lock ? work() : Promise.resolve(undefined))),
    async held() {
      const { held = [] } = await locks.query();
      return new Set(held.flatMap(({ name }) => (name?.startsWith(holdPrefix) ? [name.slice(holdPrefix.length)] : [])));
    },
  };
}

/** One worker, for itself. */
function alone(): Tabs {
  const uses = new Map<string, number>();
  const count = (digest: string, by: number) => {
    const left = (uses.get(digest) ?? 0) + by;
    if (left > 0) uses.set(digest, left);
    else uses.delete(digest);
  };
  return {
    takeTurn: () => Promise.resolve({ tell: () => undefined, [Symbol.dispose]: () => undefined }),
    tryTurn: () => Promise.resolve(undefined),
    async hold(digest) {
      count(digest, 1);
      let isHeld = true;
      return {
        [Symbol.dispose]() {
          if (isHeld) count(digest, -1);
          isHeld = false;
        },
      };
    },
    unlessHeld: (digest, work) => (uses.has(digest) ? Promise.resolve(undefined) : work()),
    held: async () => new Set(uses.keys()),
  };
}

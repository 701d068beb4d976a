import { NearfarError, type OpenRequest } from '../../core/index.ts';
import type { Clock } from '../clock.ts';
import type { ChunkStore, VerdictKey } from '../store/index.ts';
import type { Tabs } from '../tabs/index.ts';

/** How long a backend is left alone after its first, second, … crash in a row, in milliseconds: an hour, a day, a week. */
const skipMs = [3_600_000, 86_400_000, 604_800_000];

export interface LoadingMarkContext {
  readonly store: ChunkStore;
  readonly tabs: Tabs;
  readonly clock: Clock;
}

/** What is written down while a version is loaded on a backend, so that a crash, which nothing can catch, is known to the next visit. */
export interface LoadingMark {
  /** Writes the mark; it outlives the page and the browser. */
  write(): Promise<void>;
  /** Takes it away: the loading ended, well or not. */
  remove(isLoaded: boolean): Promise<void>;
}

const noMark: LoadingMark = { write: async () => undefined, remove: async () => undefined };

/**
 * Looks for the mark of a loading that never ended. One that a live worker is busy with, or whose page was left on purpose, is none. Where
 * the browser has no locks nothing is marked: another tab's loading could not be told from a crash.
 * @throws {NearfarError} `device-crashed` while the backend is left alone for this version.
 */
export async function openLoadingMark(
  { store, tabs, clock }: LoadingMarkContext,
  about: VerdictKey,
  { leftAt }: Pick<OpenRequest, 'leftAt'>,
): Promise<LoadingMark> {
  const turn = await tabs.tryTurn(`${about.digest} ${about.backend}`);
  if (!turn) return noMark;
  // Beside the verdict of the golden examples, so that it goes with its version.
  const key: VerdictKey = { ...about, device: `loading on ${about.device}` };
  const write = (loading: { startedAt?: number | undefined; crashes: number; skipUntil: number }) =>
    store.writeVerdict({ ...key, loading });
  try {
    const found = (await store.readVerdict(key))?.loading;
    let { crashes, skipUntil } = found ?? { crashes: 0, skipUntil: 0 };
    if (found?.startedAt !== undefined && found.startedAt > (leftAt || 0)) {
      skipUntil = found.startedAt + (skipMs[Math.min(crashes, skipMs.length - 1)] ?? 0);
      crashes += 1;
      await write({ crashes, skipUntil });
    }
    if (clock.now() < skipUntil) {
      const times = crashes === 1 ? '' : ` (${crashes} times)`;
      throw new NearfarError('device-crashed', `the page or its worker died while the model was loaded on ${about.backend}${times}`, {
        details: { backend: about.backend, crashes, skipUntil },
      });
    }
    return {
      write: () => write({ startedAt: clock.now(), crashes, skipUntil }).catch(() => undefined),
      async remove(isLoaded) {
        await write({ crashes: isLoaded ? 0 : crashes, skipUntil: 0 }).catch(() => undefined);
        turn[Symbol.dispose]();
      },
    };
  } catch (error) {
    turn[Symbol.dispose]();
    if (error instanceof NearfarError && error.code === 'device-crashed') throw error;
    // A store that cannot be read remembers nothing.
    return noMark;
  }
}

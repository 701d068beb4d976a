import type { ChunkNews } from '../tabs/index.ts';
import type { LoaderContext } from './context.ts';

/** Time between two events, as the platform spaces its own progress events. */
const intervalMs = 50;

export interface Progress {
  /** Says anew which chunks are here; what arrived of others is forgotten. */
  begin(present: ReadonlySet<string>): void;
  receive(digest: string, bytes: number): void;
  verify(digest: string): void;
  /** Takes over what another tab says of its download. */
  hear(this: void, news: ChunkNews): void;
  /** Tells other tabs from now on. */
  share(tell: (news: ChunkNews) => void): void;
  finish(): void;
}

/**
 * Counts bytes against the sizes the manifest gives (Content-Length lies under compression) and tells them at most every
 * 50 ms. The number never falls, even when a wrong chunk is thrown away.
 */
export function createProgress(
  context: Pick<LoaderContext, 'clock' | 'notify' | 'signal'>,
  { lengths }: { lengths: ReadonlyMap<string, number> },
): Progress {
  const totalBytes = [...lengths.values()].reduce((sum, bytes) => sum + bytes, 0);
  const received = new Map<string, number>();
  const news = new Map<string, number>();
  let share: (news: ChunkNews) => void = () => undefined;
  let sum = 0;
  let isDue = false;
  let toldBytes = -1;
  let toldAt = Number.NEGATIVE_INFINITY;
  const set = (digest: string, bytes: number) => {
    sum += bytes - (received.get(digest) ?? 0);
    received.set(digest, bytes);
  };
  const tell = (loadedBytes: number) => {
    if (loadedBytes <= toldBytes) return;
    toldBytes = loadedBytes;
    toldAt = context.clock.now();
    context.notify({ type: 'downloadprogress', loadedBytes, totalBytes });
  };
  const tellAll = () => {
    isDue = false;
    tell(sum);
    if (news.size > 0) share([...news]);
    news.clear();
  };
  const tellAtInterval = () => {
    if (isDue) return;
    if (context.clock.now() - toldAt >= intervalMs) return tellAll();
    // Nothing may come for a while after this.
    isDue = true;
    context.clock.delay(intervalMs, context.signal).then(tellAll, () => undefined);
  };
  const receive = (digest: string, bytes: number) => {
    set(digest, bytes);
    news.set(digest, bytes);
    tellAtInterval();
  };
  return {
    begin(present) {
      for (const [digest, bytes] of lengths) set(digest, present.has(digest) ? bytes : 0);
      tell(sum);
    },
    receive,
    verify: (digest) => receive(digest, lengths.get(digest) ?? 0),
    hear(heard) {
      for (const [digest, bytes] of heard) if (lengths.has(digest)) set(digest, bytes);
      tell(sum);
    },
    share(tellOthers) {
      share = tellOthers;
    },
    finish: () => tell(totalBytes),
  };
}

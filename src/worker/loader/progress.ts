import type { LoaderContext } from './context.ts';

/** Time between two events, as the platform spaces its own progress events. */
const intervalMs = 50;

/**
 * Counts bytes against the sizes the manifest gives (Content-Length lies under compression) and tells them at most every
 * 50 ms. The number never falls, even when a broken connection throws half a chunk away.
 */
export function createProgress(
  context: Pick<LoaderContext, 'clock' | 'notify'>,
  { lengths }: { lengths: ReadonlyMap<string, number> },
): {
  begin(present: ReadonlySet<string>): void;
  receive(digest: string, bytes: number): void;
  verify(digest: string): void;
  finish(): void;
} {
  const totalBytes = [...lengths.values()].reduce((sum, bytes) => sum + bytes, 0);
  const received = new Map<string, number>();
  let sum = 0;
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
  const tellAtInterval = () => {
    if (context.clock.now() - toldAt >= intervalMs) tell(sum);
  };
  return {
    begin(present) {
      for (const digest of present) set(digest, lengths.get(digest) ?? 0);
      tell(sum);
    },
    receive(digest, bytes) {
      set(digest, bytes);
      tellAtInterval();
    },
    verify(digest) {
      set(digest, lengths.get(digest) ?? 0);
      tellAtInterval();
    },
    finish: () => tell(totalBytes),
  };
}

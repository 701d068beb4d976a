import { createHash } from 'node:crypto';
import type { ImageInput, PictureInput, PreparedPicture } from '../../core/index.ts';
import type { PrepareImage } from '../media/index.ts';
import { ByteLru } from './byte-lru.ts';
import type { CacheMetrics } from './results.ts';
import { SharedRuns } from './shared-runs.ts';

/** Keeps prepared pictures, so that the same file is not decoded and resized again. */
export function withImageCache(
  prepare: PrepareImage,
  { budgetBytes, metrics, now }: { readonly budgetBytes: number; readonly metrics: CacheMetrics; readonly now?: () => number },
): PrepareImage {
  const images = new ByteLru<PreparedPicture>({
    budgetBytes,
    now,
    onRemove: (reason) => metrics.recordRemoval('input', reason),
    onBytes: (bytes) => metrics.setCacheBytes('input', bytes),
  });
  const runs = new SharedRuns<PreparedPicture>();
  return async (bytes, input, { signal } = {}) => {
    signal?.throwIfAborted();
    const key = imageKey(bytes, input);
    const known = images.get(key);
    const outcome = known ? 'hit' : runs.isRunning(key) ? 'joined' : 'miss';
    metrics.recordLookup('input', '', outcome);
    if (known) return known;
    return runs.wait(
      key,
      async (shared) => {
        const prepared = await prepare(bytes, input, { signal: shared });
        images.set(key, prepared, { bytes: prepared.image.data.byteLength, ttlMs: Number.POSITIVE_INFINITY });
        return prepared;
      },
      signal,
    );
  };
}

/** SHA-256 of the encoded picture, and all of the preprocessing that shapes its pixels: what comes after is arithmetic on them. */
function imageKey(bytes: Uint8Array, { resize, crop }: ImageInput | PictureInput): string {
  const sum = createHash('sha256').update(bytes).digest('hex');
  return `${sum} ${JSON.stringify([resize, crop])}`;
}

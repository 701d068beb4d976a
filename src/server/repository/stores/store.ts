import { NearfarError } from '../../../core/index.ts';

/** What a store knows of a file without reading it. */
export interface StoreEntry {
  /** Below the folder that was listed; that of a folder ends in a slash. */
  readonly path: string;
  /** Undefined for a folder. */
  readonly bytes?: number | undefined;
  /** Another one is another content; undefined for a folder. */
  readonly etag?: string | undefined;
}

export interface ListOptions {
  /** Every file below the folder, instead of the names in it. @default false */
  readonly isDeep?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface ReadOptions {
  /** The answer is `unchanged` where the file still has this ETag. */
  readonly ifNoneMatch?: string | undefined;
  /** The first byte to read; a store may begin at 0 all the same, and says so in its answer. @default 0 */
  readonly start?: number | undefined;
  /** With `start`: where the file has another ETag by now, the answer begins at 0. */
  readonly ifRange?: string | undefined;
  /** Whether caches on the way are passed by, since what they gave was wrong. @default false */
  readonly isFresh?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface StoreContent {
  readonly kind: 'content';
  /** Undefined where the store has none. */
  readonly etag: string | undefined;
  /** Which byte of the file the body begins with. */
  readonly start: number;
  /** Who does not read it to the end ends the iteration. It throws a {@link NearfarError} `network` where it breaks off. */
  readonly body: AsyncIterable<Uint8Array>;
  /** For how long the store says that nobody needs to ask again, in milliseconds. */
  readonly freshForMs: number;
}

export type StoreAnswer =
  | StoreContent
  | { readonly kind: 'unchanged'; readonly freshForMs: number }
  | { readonly kind: 'missing'; readonly freshForMs: number };

/**
 * A place that holds a model repository, or the folder of one model: `versions.json` and the files of each version. What is read is
 * compared with digests by whoever reads, so that a store need not be trusted.
 *
 * Every call throws a {@link NearfarError}: `network` and `unavailable` for what may pass, `rate-limited` when it asks to come less often
 * (both may say `retryAfterMs` in their details), `unauthenticated`, `permission-denied`, `unsupported` for what it cannot do; and
 * `signal.reason` when aborted.
 */
export interface RepositoryStore {
  /** Where it is, for people: the same one each time, and no secret in it. */
  readonly location: string;
  /** What is in a folder, in no order; nothing where there is no such folder. @param folder Its path without a slash at either end; `''` is all. */
  list(folder: string, options?: ListOptions): Promise<readonly StoreEntry[]>;
  /** @param path Such as `everyday10/1/manifest.json`. */
  read(path: string, options?: ReadOptions): Promise<StoreAnswer>;
  /** Tells of changes where the store can; whoever listens still asks now and then. @param onChange Called with the path that changed, if it is known. */
  watch?(onChange: (path: string | undefined) => void): Disposable;
}

/** Joins path segments, of which some may be empty. */
export function joinPath(...segments: readonly string[]): string {
  return segments.filter((segment) => segment !== '').join('/');
}

/**
 * The whole of a small file.
 * @throws {NearfarError} `invalid-argument` for one that is larger than `maxBytes`.
 */
export async function readAll(path: string, { body }: StoreContent, maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of body) {
    bytes += part.byteLength;
    if (bytes > maxBytes) {
      throw new NearfarError('invalid-argument', `${path} has more than the ${maxBytes} bytes that are expected at most`, {
        details: { path, maxBytes },
      });
    }
    parts.push(part);
  }
  return new Uint8Array(Buffer.concat(parts));
}

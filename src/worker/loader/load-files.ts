import { type CacheOutcome, type ChunkPlace, digestOf, listChunks, type Manifest, NearfarError, type Pin } from '../../core/index.ts';
import type { ChunkStore } from '../store/index.ts';
import type { LoaderContext } from './context.ts';
import { chunkMismatch } from './mismatch.ts';
import { createProgress, type Progress } from './progress.ts';
import type { ResolvedVersion } from './resolve.ts';
import { recordVersion } from './version-record.ts';

/** Files of one version, each of their bytes checked against the manifest in this load. */
export interface VersionFiles {
  readonly pin: Pin;
  readonly manifest: Manifest;
  readonly cache: CacheOutcome;
  /**
   * The bytes of a loaded file; the same buffer each time, not to be changed.
   * @throws {NearfarError} `not-found` for a file that was not asked for.
   */
  readFile(path: string): Promise<Uint8Array<ArrayBuffer>>;
}

export interface LoadRequest {
  readonly version: ResolvedVersion;
  /** Paths of the wanted files. */
  readonly files: readonly string[];
  readonly repositories: readonly string[];
  readonly cacheBudgetBytes: number;
  /**
   * Only kept for later: nothing stays in memory, files that are needed now are fetched before them, and what cannot be
   * kept is an error. @default false
   */
  readonly isAhead?: boolean;
}

/** What the steps of one load share. */
export interface Load {
  readonly request: LoadRequest;
  readonly version: ResolvedVersion;
  readonly files: readonly string[];
  readonly chunks: readonly ChunkPlace[];
  readonly assembly: Assembly;
  readonly progress: Progress;
}

/**
 * Brings files of a version into memory: what the store lacks is downloaded, verified as it streams in and stored at
 * once (so a broken download goes on where it stopped); what the store has is read and verified, and fetched again where it is wrong.
 * @throws {NearfarError} `integrity-mismatch` when right bytes cannot be had, `network`, `not-found`; of files fetched
 * ahead also `quota-exceeded` and `unavailable`. Rejects with `signal.reason` when aborted; verified chunks stay,
 * without a commit mark.
 */
export async function loadFiles(context: LoaderContext, request: LoadRequest): Promise<VersionFiles> {
  const { version } = request;
  const { pin, manifest } = version;
  const files = neededFirst(manifest, request.files);
  const chunks = listChunks(manifest, files);
  const assembly = createAssembly(manifest, files, chunks, request.isAhead ?? false);
  const progress = createProgress(context, assembly);
  const load: Load = { request, version, files, chunks, assembly, progress };
  const digests = [...assembly.lengths.keys()];
  let fetched = 0;
  let isKept = true;
  const fetchMissing = async (findHere: () => Promise<ReadonlySet<string>>) => {
    const { fetchMissing: fetch } = await import('./fetch-missing.ts');
    const outcome = await fetch(context, load, findHere);
    fetched += outcome.fetched;
    isKept &&= outcome.isKept;
  };

  context.notify({ type: 'phase', phase: 'download' });
  const present = await findStored(context.store, digests);
  progress.begin(present);
  if (present.size < digests.length) await fetchMissing(() => findStored(context.store, digests));

  context.notify({ type: 'phase', phase: 'verify' });
  const corrupt = await readStored(context, assembly, digests);
  if (corrupt.length > 0) {
    await heal(context, manifest, corrupt, () =>
      fetchMissing(async () => {
        // Another tab may have healed them meanwhile.
        await readStored(context, assembly, digests);
        return assembly.filled;
      }),
    );
  }
  context.signal.throwIfAborted();
  // A store that takes no note makes the next load slower, no more than that; and the time of use need not be waited for.
  const recorded = isKept && recordVersion(context, version, files, chunks, true).catch(() => undefined);
  if (fetched > 0) await recorded;
  progress.finish();
  const cache = fetched === 0 ? 'hit' : fetched < digests.length ? 'partial' : 'miss';
  return { pin, manifest, cache, readFile: (path) => assembly.readFile(path) };
}

/** Small files first: graph, labels and golden examples say what the weights are for. */
function neededFirst(manifest: Manifest, files: readonly string[]): readonly string[] {
  const sizeOf = (file: string) => manifest.files[file]?.bytes ?? 0;
  return [...new Set(files)].sort((a, b) => sizeOf(a) - sizeOf(b));
}

/** Store reads that fail count as misses: a sick cache slows a load down, it does not end it. */
async function findStored(store: ChunkStore, digests: readonly string[]): Promise<ReadonlySet<string>> {
  return store.findChunks(digests).catch(() => new Set<string>());
}

/** Whether the store holds every chunk of these files, so that loading them asks for nothing. */
export async function areFilesStored({ store }: LoaderContext, manifest: Manifest, files: readonly string[]): Promise<boolean> {
  const digests = new Set(listChunks(manifest, files).map(({ digest }) => digest));
  return (await findStored(store, [...digests])).size === digests.size;
}

/** The buffers of the wanted files, filled chunk by chunk; of files fetched ahead only what would be in them. */
export interface Assembly {
  /** Length of each distinct chunk. */
  readonly lengths: ReadonlyMap<string, number>;
  readonly filled: ReadonlySet<string>;
  /** Copies a verified chunk to each place it has. */
  fill(digest: string, bytes: Uint8Array<ArrayBuffer>): void;
  firstPlace(digest: string): ChunkPlace | undefined;
  readFile(path: string): Promise<Uint8Array<ArrayBuffer>>;
}

function createAssembly(manifest: Manifest, files: readonly string[], chunks: readonly ChunkPlace[], isAhead: boolean): Assembly {
  const buffers = new Map((isAhead ? [] : files).map((path) => [path, new Uint8Array(manifest.files[path]?.bytes ?? 0)]));
  const places = new Map<string, ChunkPlace[]>();
  for (const chunk of chunks) places.set(chunk.digest, [...(places.get(chunk.digest) ?? []), chunk]);
  const filled = new Set<string>();
  return {
    lengths: new Map(chunks.map(({ digest, bytes }) => [digest, bytes])),
    filled,
    fill(digest, bytes) {
      for (const { file, start } of places.get(digest) ?? []) buffers.get(file)?.set(bytes, start);
      filled.add(digest);
    },
    firstPlace: (digest) => places.get(digest)?.[0],
    async readFile(path) {
      const buffer = buffers.get(path);
      if (buffer) return buffer;
      throw new NearfarError('not-found', `${path} of ${manifest.name} version ${manifest.version} was not loaded`, { details: { path } });
    },
  };
}

interface CorruptChunk {
  readonly chunk: ChunkPlace;
  readonly got: string | undefined;
}

/** Some are read while others are hashed; enough of them that a thread that is busy starting an engine leaves none of it idle. */
const readsAtOnce = 16;

/** Reads and verifies what is not in memory yet; what is wrong or no longer there is returned. */
async function readStored(context: LoaderContext, assembly: Assembly, digests: readonly string[]): Promise<CorruptChunk[]> {
  const corrupt: CorruptChunk[] = [];
  const waiting = digests.filter((digest) => !assembly.filled.has(digest));
  const readNext = async (): Promise<void> => {
    for (let digest = waiting.shift(); digest !== undefined; digest = waiting.shift()) {
      context.signal.throwIfAborted();
      const bytes = await context.store.readChunk(digest).catch(() => undefined);
      const got = bytes && (await digestOf(bytes));
      const chunk = assembly.firstPlace(digest);
      if (bytes && got === digest) assembly.fill(digest, bytes);
      // It stays until the right one takes its place, so that each opening without a network says what is wrong.
      else if (chunk) corrupt.push({ chunk, got });
    }
  };
  await Promise.all(Array.from({ length: readsAtOnce }, readNext));
  return corrupt;
}

/** Fetches the chunks that were wrong in the store, and no others; without a network the version is refused. */
async function heal(
  context: LoaderContext,
  manifest: Manifest,
  corrupt: readonly CorruptChunk[],
  download: () => Promise<void>,
): Promise<void> {
  const report = (action: 'refetched' | 'refused') => {
    for (const { chunk, got } of corrupt) {
      const { message } = chunkMismatch(manifest, chunk, got);
      context.notify({ type: 'integrity', file: chunk.file, chunk: chunk.index, source: 'cache', action, message });
    }
  };
  try {
    await download();
    report('refetched');
  } catch (cause) {
    context.signal.throwIfAborted();
    report('refused');
    const [first] = corrupt;
    throw first ? chunkMismatch(manifest, first.chunk, first.got, cause) : cause;
  }
}

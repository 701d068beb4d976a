import {
  type CacheOutcome,
  type ChunkPlace,
  digestOf,
  listChunks,
  type Manifest,
  NearfarError,
  type Pin,
  planRequests,
} from '../../core/index.ts';
import type { LoaderContext } from './context.ts';
import { type ChunkSink, chunkMismatch, downloadChunks } from './download.ts';
import { createProgress } from './progress.ts';
import { fileUrl, type ResolvedVersion } from './resolve.ts';
import { findStored, openShelf, type Shelf } from './shelf.ts';

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
  /** Paths of the wanted files, in the order in which they are wanted. */
  readonly files: readonly string[];
  readonly repositories: readonly string[];
  readonly cacheBudgetBytes: number;
}

/**
 * Brings files of a version into memory: what the store lacks is downloaded, verified as it streams in and stored at
 * once (so a broken download goes on where it stopped); what the store has is read and verified, and fetched again where it is wrong.
 * @throws {NearfarError} `integrity-mismatch` when right bytes cannot be had, `network`, `not-found`. Rejects with
 * `signal.reason` when aborted; verified chunks stay, without a commit mark.
 */
export async function loadFiles(context: LoaderContext, request: LoadRequest): Promise<VersionFiles> {
  const { pin, manifest } = request.version;
  const files = [...new Set(request.files)];
  const chunks = listChunks(manifest, files);
  const assembly = createAssembly(manifest, files, chunks);
  const present = await findStored(context.store, [...assembly.lengths.keys()]);
  const shelf = openShelf(context, request.version, files, chunks, request.cacheBudgetBytes);
  const progress = createProgress(context, assembly);
  const sink = createSink(context, { manifest, assembly, shelf, progress });
  const download = (having: ReadonlySet<string>) => {
    const mirrors = (file: string) => request.repositories.map((base) => fileUrl(base, [manifest.name, pin.version, file]));
    return downloadChunks({ context, manifest, mirrors, requests: planRequests(manifest, files, having), sink });
  };

  context.notify({ type: 'phase', phase: 'download' });
  const missingBytes = [...assembly.lengths].reduce((sum, [digest, bytes]) => (present.has(digest) ? sum : sum + bytes), 0);
  if (missingBytes > 0) await shelf.reserve(missingBytes);
  progress.begin(present);
  await download(present);

  context.notify({ type: 'phase', phase: 'verify' });
  const corrupt = await readStored(context, assembly, present);
  if (corrupt.length > 0) await heal(context, manifest, corrupt, () => download(new Set(assembly.filled)));
  context.signal.throwIfAborted();
  const fetched = missingBytes > 0 || corrupt.length > 0;
  const committing = shelf.commit();
  // Where all was here it only notes the time of use, which nobody has to wait for.
  if (fetched) await committing;
  else committing.catch(() => undefined);
  progress.finish();
  const cache = !fetched ? 'hit' : present.size > corrupt.length ? 'partial' : 'miss';
  return { pin, manifest, cache, readFile: (path) => assembly.readFile(path) };
}

/** Whether the store holds every chunk of these files, so that loading them asks for nothing. */
export async function areFilesStored({ store }: LoaderContext, manifest: Manifest, files: readonly string[]): Promise<boolean> {
  const digests = new Set(listChunks(manifest, files).map(({ digest }) => digest));
  return (await findStored(store, [...digests])).size === digests.size;
}

/** The buffers of the wanted files, filled chunk by chunk. */
interface Assembly {
  /** Length of each distinct chunk. */
  readonly lengths: ReadonlyMap<string, number>;
  readonly filled: ReadonlySet<string>;
  /** Copies a verified chunk to each place it has. */
  fill(digest: string, bytes: Uint8Array<ArrayBuffer>): void;
  firstPlace(digest: string): ChunkPlace | undefined;
  readFile(path: string): Promise<Uint8Array<ArrayBuffer>>;
}

function createAssembly(manifest: Manifest, files: readonly string[], chunks: readonly ChunkPlace[]): Assembly {
  const buffers = new Map(files.map((path) => [path, new Uint8Array(manifest.files[path]?.bytes ?? 0)]));
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

/** Verifies chunks as they come from the network; a wrong one is asked for once more, then refused. */
function createSink(
  context: LoaderContext,
  load: { manifest: Manifest; assembly: Assembly; shelf: Shelf; progress: ReturnType<typeof createProgress> },
): ChunkSink {
  const { manifest, assembly, shelf, progress } = load;
  const refused = new Set<string>();
  return {
    has: ({ digest }) => assembly.filled.has(digest),
    receiving: ({ digest }, bytes) => progress.receive(digest, bytes),
    async accept(chunk, bytes) {
      const got = await digestOf(bytes);
      if (got === chunk.digest) {
        assembly.fill(chunk.digest, bytes);
        progress.verify(chunk.digest);
        return shelf.keep(chunk, bytes);
      }
      progress.receive(chunk.digest, 0);
      const error = chunkMismatch(manifest, chunk, got);
      const action = refused.has(chunk.digest) ? 'refused' : 'refetched';
      context.notify({ type: 'integrity', file: chunk.file, chunk: chunk.index, source: 'network', action, message: error.message });
      if (action === 'refused') throw error;
      refused.add(chunk.digest);
    },
  };
}

interface CorruptChunk {
  readonly chunk: ChunkPlace;
  readonly got: string | undefined;
}

/** Some are read while others are hashed; enough of them that a thread that is busy starting an engine leaves none of it idle. */
const readsAtOnce = 16;

/** Reads and verifies what the store has; what is wrong is deleted from it and returned. */
async function readStored(context: LoaderContext, assembly: Assembly, present: ReadonlySet<string>): Promise<CorruptChunk[]> {
  const corrupt: CorruptChunk[] = [];
  const waiting = [...present];
  const readNext = async (): Promise<void> => {
    for (let digest = waiting.shift(); digest !== undefined; digest = waiting.shift()) {
      context.signal.throwIfAborted();
      const bytes = await context.store.readChunk(digest).catch(() => undefined);
      const got = bytes && (await digestOf(bytes));
      const chunk = assembly.firstPlace(digest);
      if (bytes && got === digest) assembly.fill(digest, bytes);
      else if (chunk) {
        corrupt.push({ chunk, got });
        await context.store.deleteChunk(digest).catch(() => undefined);
      }
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

import type { ChunkPlace, ChunkRequest, Manifest } from '../../core/index.ts';
import type { LoaderContext } from './context.ts';
import { networkError, type OpenResponse, openUrl } from './http.ts';
import { withRetries } from './retry.ts';

/** Chunks of one request that may wait for their digest and their place in the store, in memory. */
const unverifiedChunks = 4;

/** Fewer bytes between two breaks are no progress: a connection that brings nothing else is given up. */
const leastProgressBytes = 64 * 1024;

/** Takes the chunks of a download as their bytes arrive. */
export interface ChunkSink {
  has(chunk: ChunkPlace): boolean;
  /** Verifies and keeps the bytes of a chunk; a wrong chunk is not kept, so that `has` stays false. @throws When the chunk is refused for good. */
  accept(chunk: ChunkPlace, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** Bytes of a chunk that have arrived but are not verified yet; 0 when they are given up. */
  receiving(chunk: ChunkPlace, bytes: number): void;
}

/** Gives the URL of a file, by its path. */
type Mirror = (file: string) => string;

interface Download {
  readonly context: LoaderContext;
  readonly manifest: Manifest;
  readonly mirrors: readonly Mirror[];
  readonly requests: readonly ChunkRequest[];
  readonly sink: ChunkSink;
  /** Whether other downloads of this worker come first. */
  readonly isAhead: boolean;
}

/**
 * Fetches chunks by byte ranges, a few requests at a time. A request that breaks goes on at the first byte that is
 * missing, at the next mirror if there is one. A server that ignores ranges is read once, for all missing chunks of the file.
 */
export async function downloadChunks(download: Download): Promise<void> {
  const stop = new AbortController();
  const context = { ...download.context, signal: AbortSignal.any([download.context.signal, stop.signal]) };
  const state: State = { ...download, context, wholeFiles: new Map(), etags: new Map(), parts: new Map(), blames: new Map() };
  const fetchOne = (request: ChunkRequest) =>
    // The first failure ends the others; what they have verified stays in the store.
    fetchRequest(state, request).catch((error: unknown) => stop.abort(error));
  // Waits for all of them also after a failure: nothing is written once this has returned.
  await Promise.all(download.requests.map(fetchOne));
  stop.signal.throwIfAborted();
}

/** What has arrived of a chunk whose connection broke. */
interface Part {
  readonly bytes: Uint8Array<ArrayBuffer>;
  filled: number;
  /** The mirror that began it, and is to blame when a chunk of several mirrors is wrong. */
  readonly from: Mirror;
}

interface State extends Download {
  /** Files that are being read as a whole, because their server ignores ranges. */
  readonly wholeFiles: Map<string, Promise<void>>;
  readonly etags: Map<string, string>;
  /** By the digests of their chunks. */
  readonly parts: Map<string, Part>;
  /** How often each mirror failed or lied in this download. */
  readonly blames: Map<Mirror, number>;
}

async function fetchRequest(state: State, { file, chunks }: ChunkRequest): Promise<void> {
  const { context, sink, parts } = state;
  const missing = () => chunks.filter((chunk) => !sink.has(chunk));
  const arrived = () => chunks.reduce((sum, chunk) => sum + (sink.has(chunk) ? chunk.bytes : (parts.get(chunk.digest)?.filled ?? 0)), 0);
  for (let round = 1; missing().length > 0; round++) {
    const order = mirrorsInOrder(state);
    let asked: Mirror | undefined;
    const attempt = async (url: string) => {
      await state.wholeFiles.get(file);
      using _slot = await context.slots.take(state.isAhead, context.signal);
      // While this waited, others may have found out more about the mirrors.
      asked = asked ? order.find((mirror) => mirror(file) === url) : mirrorsInOrder(state)[0];
      if (!asked || missing().length === 0) return;
      try {
        await streamChunks(state, asked, file, missing());
      } catch (error) {
        blame(state, asked);
        throw error;
      }
    };
    const urls = order.map((mirror) => mirror(file));
    await withRetries(context, urls, attempt, { progress: () => Math.floor(arrived() / leastProgressBytes) });
    const [wrong] = missing();
    if (!wrong) return;
    // It had a wrong digest: another mirror may have the right bytes.
    const url = mirrorsInOrder(state)[0]?.(file) ?? '';
    const message = `chunk ${wrong.index} of ${file} does not have its digest`;
    context.notify({ type: 'retry', url, attempt: round, code: 'integrity-mismatch', message });
  }
}

/** As they were given; those that failed go behind those that did not. */
function mirrorsInOrder({ mirrors, blames }: State): readonly Mirror[] {
  return [...mirrors].sort((a, b) => (blames.get(a) ?? 0) - (blames.get(b) ?? 0));
}

function blame({ blames }: State, mirror: Mirror): void {
  blames.set(mirror, (blames.get(mirror) ?? 0) + 1);
}

async function streamChunks(state: State, mirror: Mirror, file: string, chunks: readonly ChunkPlace[]): Promise<void> {
  const url = mirror(file);
  const first = chunks[0];
  const last = chunks.at(-1);
  if (!first || !last) return;
  const start = first.start + (state.parts.get(first.digest)?.filled ?? 0);
  const headers = rangeHeaders(state, url, file, start, last.start + last.bytes);
  using open = await openUrl(state.context, url, { headers });
  const etag = open.response.headers.get('etag');
  if (etag && !etag.startsWith('W/')) state.etags.set(url, etag);
  if (open.response.status === 206) {
    await readChunks(state, mirror, open, contentStart(open.response) ?? start, chunks);
  } else if (!('Range' in headers)) {
    await readChunks(state, mirror, open, 0, chunks);
  } else {
    await readWholeFile(state, mirror, file, open);
  }
}

/** One reader per file: others wait for it instead of fetching the same bytes again. */
async function readWholeFile(state: State, mirror: Mirror, file: string, open: OpenResponse): Promise<void> {
  const reader = state.wholeFiles.get(file);
  if (reader) return reader;
  const wanted = state.requests.filter((request) => request.file === file).flatMap(({ chunks }) => chunks);
  const reading = readChunks(
    state,
    mirror,
    open,
    0,
    wanted.filter((chunk) => !state.sink.has(chunk)),
  ).finally(() => state.wholeFiles.delete(file));
  // Waiting requests try for themselves when this reader fails.
  state.wholeFiles.set(
    file,
    reading.catch(() => undefined),
  );
  await reading;
}

/** Cuts chunks, in file order, out of a body whose first byte lies at `position` of the file. */
async function readChunks(
  state: State,
  mirror: Mirror,
  open: OpenResponse,
  position: number,
  chunks: readonly ChunkPlace[],
): Promise<void> {
  const { sink, parts } = state;
  let bodyAt = position;
  let piece: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  /** Reads on until the chunk is whole, from the byte after those that arrived earlier; skips what comes before. */
  const fill = async (chunk: ChunkPlace, part: Part) => {
    for (;;) {
      const wanted = chunk.start + part.filled;
      if (wanted < bodyAt) throw networkError(open.response.url, `the answer starts at byte ${bodyAt}, ${wanted} was asked for`);
      const skipped = piece.subarray(Math.min(piece.byteLength, wanted - bodyAt));
      bodyAt += piece.byteLength - skipped.byteLength;
      const used = bodyAt === wanted ? skipped.subarray(0, chunk.bytes - part.filled) : skipped.subarray(0, 0);
      part.bytes.set(used, part.filled);
      part.filled += used.byteLength;
      bodyAt += used.byteLength;
      piece = skipped.subarray(used.byteLength);
      sink.receiving(chunk, part.filled);
      if (part.filled === chunk.bytes) return;
      const next = await open.read();
      if (!next) throw networkError(open.response.url, `the answer ends at byte ${bodyAt}`);
      piece = next;
    }
  };
  // Chunks are verified and stored while the next ones are read: a body that waits would lose what lies in its buffers
  // when the connection breaks.
  const accepting: Promise<void>[] = [];
  let refusal: { readonly error: unknown } | undefined;
  const accept = async (chunk: ChunkPlace, { bytes, from }: Part) => {
    try {
      await sink.accept(chunk, bytes);
      if (sink.has(chunk)) return;
      sink.receiving(chunk, 0);
      blame(state, from);
    } catch (error) {
      refusal ??= { error };
    }
  };
  try {
    for (const chunk of chunks) {
      const part = parts.get(chunk.digest) ?? { bytes: new Uint8Array(chunk.bytes), filled: 0, from: mirror };
      parts.set(chunk.digest, part);
      await fill(chunk, part);
      // Right or wrong: a chunk that was wrong comes anew as a whole.
      parts.delete(chunk.digest);
      accepting.push(accept(chunk, part));
      if (accepting.length > unverifiedChunks) await accepting.shift();
      if (refusal) break;
    }
  } finally {
    await Promise.all(accepting);
  }
  if (refusal) throw refusal.error;
}

function rangeHeaders(state: State, url: string, file: string, start: number, end: number): Record<string, string> {
  // A whole file goes without Range, so that hosts may compress it.
  if (start === 0 && end === state.manifest.files[file]?.bytes) return {};
  const etag = state.etags.get(url);
  const range = { Range: `bytes=${start}-${end - 1}` };
  // If-Range is not CORS-safelisted: across origins it would cost a preflight, and each chunk is verified in any case.
  return etag && isSameOrigin(url) ? { ...range, 'If-Range': etag } : range;
}

function isSameOrigin(url: string): boolean {
  return typeof location !== 'undefined' && new URL(url).origin === location.origin;
}

function contentStart(response: Response): number | undefined {
  // Absent across origins unless the server exposes it.
  const start = /^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')?.[1];
  return start === undefined ? undefined : Number(start);
}

import { type ChunkPlace, type ChunkRequest, type Manifest, NearfarError } from '../../core/index.ts';
import type { LoaderContext } from './context.ts';
import { networkError, type OpenResponse, openUrl } from './http.ts';
import { withRetries } from './retry.ts';

/** Requests under way at once; more only share one connection's bandwidth. */
const parallelRequests = 4;

/** Chunks of one request that may wait for their digest and their place in the store, in memory. */
const unverifiedChunks = 4;

/** Takes the chunks of a download as their bytes arrive. */
export interface ChunkSink {
  has(chunk: ChunkPlace): boolean;
  /** Verifies and keeps the bytes of a chunk; a wrong chunk is not kept, so that `has` stays false. @throws When the chunk is refused for good. */
  accept(chunk: ChunkPlace, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** Bytes of a chunk that have arrived but are not verified yet; 0 when they are given up. */
  receiving(chunk: ChunkPlace, bytes: number): void;
}

interface Download {
  readonly context: LoaderContext;
  readonly manifest: Manifest;
  /** URLs of one file at each mirror, by its path. */
  readonly mirrors: (file: string) => readonly string[];
  readonly requests: readonly ChunkRequest[];
  readonly sink: ChunkSink;
}

/**
 * Fetches chunks by byte ranges, a few requests at a time. A request that breaks goes on at the first chunk that is
 * missing, at the next mirror if there is one. A server that ignores ranges is read once, for all missing chunks of the file.
 */
export async function downloadChunks(download: Download): Promise<void> {
  const stop = new AbortController();
  const context = { ...download.context, signal: AbortSignal.any([download.context.signal, stop.signal]) };
  const state: State = { ...download, context, wholeFiles: new Map(), etags: new Map() };
  const queue = download.requests.values();
  const worker = async () => {
    try {
      for (const request of queue) await fetchRequest(state, request);
    } catch (error) {
      // The first failure ends the others; what they have verified stays in the store.
      if (!stop.signal.aborted) stop.abort(error);
    }
  };
  // Waits for all of them also after a failure: nothing is written once this has returned.
  await Promise.all(Array.from({ length: parallelRequests }, worker));
  stop.signal.throwIfAborted();
}

interface State extends Download {
  /** Files that are being read as a whole, because their server ignores ranges. */
  readonly wholeFiles: Map<string, Promise<void>>;
  readonly etags: Map<string, string>;
}

async function fetchRequest(state: State, request: ChunkRequest): Promise<void> {
  const { context, sink } = state;
  const missing = () => request.chunks.filter((chunk) => !sink.has(chunk));
  let mirrors = state.mirrors(request.file);
  while (missing().length > 0) {
    await withRetries(
      context,
      mirrors,
      async (url) => {
        await state.wholeFiles.get(request.file);
        if (missing().length > 0) await streamChunks(state, url, request.file, missing());
      },
      { progress: () => -missing().length },
    );
    // What is still missing had a wrong digest: another mirror may have the right bytes.
    mirrors = [...mirrors.slice(1), ...mirrors.slice(0, 1)];
  }
}

async function streamChunks(state: State, url: string, file: string, chunks: readonly ChunkPlace[]): Promise<void> {
  const first = chunks[0];
  const last = chunks.at(-1);
  if (!first || !last) return;
  const headers = rangeHeaders(state, url, file, first.start, last.start + last.bytes);
  using open = await openUrl(state.context, url, { headers });
  const etag = open.response.headers.get('etag');
  if (etag && !etag.startsWith('W/')) state.etags.set(url, etag);
  if (open.response.status === 206) {
    await readChunks(state, url, open, contentStart(open.response) ?? first.start, chunks);
  } else if (!('Range' in headers)) {
    await readChunks(state, url, open, 0, chunks);
  } else {
    await readWholeFile(state, url, file, open);
  }
}

/** One reader per file: others wait for it instead of fetching the same bytes again. */
async function readWholeFile(state: State, url: string, file: string, open: OpenResponse): Promise<void> {
  const reader = state.wholeFiles.get(file);
  if (reader) return reader;
  const wanted = state.requests.filter((request) => request.file === file).flatMap(({ chunks }) => chunks);
  const reading = readChunks(
    state,
    url,
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
async function readChunks(state: State, url: string, open: OpenResponse, position: number, chunks: readonly ChunkPlace[]): Promise<void> {
  const { sink } = state;
  let bodyAt = position;
  let piece: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  /** Fills `target` with the bytes from `start` on, skipping what comes before. */
  const fill = async (start: number, target: Uint8Array<ArrayBuffer>, onBytes: (bytes: number) => void) => {
    if (start < bodyAt) throw networkError(url, `the answer starts at byte ${bodyAt}, ${start} was asked for`);
    let filled = 0;
    for (;;) {
      const skipped = piece.subarray(Math.min(piece.byteLength, start + filled - bodyAt));
      bodyAt += piece.byteLength - skipped.byteLength;
      const used = bodyAt === start + filled ? skipped.subarray(0, target.byteLength - filled) : skipped.subarray(0, 0);
      target.set(used, filled);
      filled += used.byteLength;
      bodyAt += used.byteLength;
      piece = skipped.subarray(used.byteLength);
      onBytes(filled);
      if (filled === target.byteLength) return;
      const next = await open.read();
      if (!next) throw networkError(url, `the answer ends at byte ${bodyAt}`);
      piece = next;
    }
  };
  // Chunks are verified and stored while the next ones are read: a body that waits would lose what lies in its buffers
  // when the connection breaks.
  const accepting: Promise<void>[] = [];
  let refusal: { readonly error: unknown } | undefined;
  const accept = (chunk: ChunkPlace, bytes: Uint8Array<ArrayBuffer>) =>
    sink.accept(chunk, bytes).catch((error: unknown) => {
      refusal ??= { error };
    });
  try {
    for (const chunk of chunks) {
      const bytes = new Uint8Array(chunk.bytes);
      await fill(chunk.start, bytes, (received) => sink.receiving(chunk, received));
      accepting.push(accept(chunk, bytes));
      if (accepting.length > unverifiedChunks) await accepting.shift();
      if (refusal) break;
    }
  } finally {
    await Promise.all(accepting);
    for (const chunk of chunks) if (!sink.has(chunk)) sink.receiving(chunk, 0);
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

/** The error for a chunk that was wrong twice. */
export function chunkMismatch(manifest: Manifest, chunk: ChunkPlace, got: string | undefined, cause?: unknown): NearfarError {
  const what = `chunk ${chunk.index} of ${chunk.file} of ${manifest.name} version ${manifest.version}`;
  return new NearfarError('integrity-mismatch', `${what} is ${got ?? 'unreadable'}, ${chunk.digest} was expected`, {
    cause,
    details: { file: chunk.file, chunk: chunk.index, want: chunk.digest, got },
  });
}

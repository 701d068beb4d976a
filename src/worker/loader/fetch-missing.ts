import { digestOf, planRequests } from '../../core/index.ts';
import type { LoaderContext } from './context.ts';
import { type ChunkSink, downloadChunks } from './download.ts';
import type { Load } from './load-files.ts';
import { chunkMismatch } from './mismatch.ts';
import { fileUrl } from './resolve.ts';
import { openShelf } from './shelf.ts';

// A module of its own, loaded when something is missing: a warm visit needs none of it.

/**
 * Downloads, verifies and stores the chunks that are neither in memory nor in the store. One tab of an origin does so
 * at a time; those that wait for it tell its progress as theirs and then find its chunks in the store.
 * @param findHere Looks, once it is this worker's turn, which chunks are here.
 * @returns how many chunks came from the network, and whether the store has them now.
 */
export async function fetchMissing(
  context: LoaderContext,
  load: Load,
  findHere: () => Promise<ReadonlySet<string>>,
): Promise<{ fetched: number; isKept: boolean }> {
  const { version, files, chunks, assembly, progress, request } = load;
  const { pin, manifest } = version;
  // What lives in the memory of one worker is of no use to another.
  using turn = context.store.kind === 'memory' ? undefined : await context.tabs.takeTurn(pin.digest, context.signal, progress.hear);
  if (turn) progress.share(turn.tell);
  const here = await findHere();
  progress.begin(here);
  const requests = planRequests(manifest, files, here);
  if (requests.length === 0) return { fetched: 0, isKept: true };
  let isKept = true;
  const shelf = openShelf(context, {
    version,
    files,
    chunks,
    budgetBytes: request.cacheBudgetBytes,
    mustKeep: request.isAhead ?? false,
    onGiveUp() {
      isKept = false;
      // What the store does not keep, others need not wait for.
      turn?.[Symbol.dispose]();
    },
  });
  await shelf.reserve(requests.flatMap((each) => each.chunks).reduce((sum, { bytes }) => sum + bytes, 0));
  const mirrors = request.repositories.map((base) => (file: string) => fileUrl(base, [manifest.name, pin.version, file]));
  let fetched = 0;
  const refused = new Set<string>();
  const sink: ChunkSink = {
    has: ({ digest }) => assembly.filled.has(digest),
    receiving: ({ digest }, bytes) => progress.receive(digest, bytes),
    async accept(chunk, bytes) {
      const got = await digestOf(bytes);
      if (got === chunk.digest) {
        fetched++;
        assembly.fill(chunk.digest, bytes);
        progress.verify(chunk.digest);
        return shelf.keep(chunk, bytes);
      }
      // A wrong chunk is asked for once more, then refused.
      const error = chunkMismatch(manifest, chunk, got);
      const action = refused.has(chunk.digest) ? 'refused' : 'refetched';
      context.notify({ type: 'integrity', file: chunk.file, chunk: chunk.index, source: 'network', action, message: error.message });
      if (action === 'refused') throw error;
      refused.add(chunk.digest);
    },
  };
  await downloadChunks({ context, manifest, mirrors, requests, sink, isAhead: request.isAhead ?? false });
  return { fetched, isKept };
}

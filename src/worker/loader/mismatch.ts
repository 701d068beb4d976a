import { type ChunkPlace, type Manifest, NearfarError } from '../../core/index.ts';

/** The error for a chunk that is not what the manifest says. */
export function chunkMismatch(manifest: Manifest, chunk: ChunkPlace, got: string | undefined, cause?: unknown): NearfarError {
  const what = `chunk ${chunk.index} of ${chunk.file} of ${manifest.name} version ${manifest.version}`;
  return new NearfarError('integrity-mismatch', `${what} is ${got ?? 'unreadable'}, ${chunk.digest} was expected`, {
    cause,
    details: { file: chunk.file, chunk: chunk.index, want: chunk.digest, got },
  });
}

import { type ModelFile, type ModelFolder, NearfarError } from '../core/index.ts';

/**
 * The files of a model from Blobs: what a file picker, a drop or `fetch` gives. Only what a reader asks for is read.
 * @param files By their paths inside the model's folder, with forward slashes: `saved_model.pb`, `variables/variables.index`.
 */
export function blobFolder(files: Iterable<readonly [path: string, content: Blob]>): ModelFolder {
  const sorted = [...files].sort(([a], [b]) => (a < b ? -1 : 1));
  return new Map(sorted.map(([path, blob]) => [path, blobFile(path, blob)]));
}

function blobFile(path: string, blob: Blob): ModelFile {
  return {
    byteLength: blob.size,
    read: async (start, end) => {
      if (!(start >= 0 && start <= end && end <= blob.size)) {
        throw new NearfarError('invalid-argument', `bytes ${start} to ${end} are outside ${path}, which has ${blob.size}`, {
          details: { path, start, end, byteLength: blob.size },
        });
      }
      return new Uint8Array(await blob.slice(start, end).arrayBuffer());
    },
  };
}

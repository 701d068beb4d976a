import { open, readdir, stat } from 'node:fs/promises';
import { basename, dirname, join, relative, sep } from 'node:path';
import { type ModelFile, type ModelFolder, NearfarError } from '../core/index.ts';

/** More files than any model has: a folder given by mistake is refused before it is read through. */
const MAX_FILES = 100_000;

/** A model on disk: what the path holds, or the folder of the file it names. */
export interface ModelPath {
  readonly folder: ModelFolder;
  /** The file that was named; undefined for a directory. */
  readonly file: string | undefined;
}

/**
 * Opens a path for the readers of model files; files are read when they are needed.
 * @throws {NearfarError} `not-found`; `invalid-argument` for a folder with too many files.
 */
export async function openModelPath(path: string): Promise<ModelPath> {
  const info = await stat(path).catch((cause) => {
    throw new NearfarError('not-found', `there is no model at ${path}`, { cause, details: { path } });
  });
  if (info.isDirectory()) return { folder: await openFolder(path), file: undefined };
  const file = basename(path);
  const folder = await openFolder(dirname(path), (name) => name === file || isCompanion(file, name));
  return { folder, file };
}

/** What a model file may name beside it: shards and external data, and the variables of a SavedModel. */
function isCompanion(file: string, name: string): boolean {
  if (file === 'saved_model.pb' || file === 'saved_model.pbtxt') return /^(variables|assets|assets\.extra)\//.test(name);
  return file.endsWith('.onnx') || file.endsWith('.json');
}

async function openFolder(path: string, isWanted: (name: string) => boolean = () => true): Promise<ModelFolder> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  if (entries.length > MAX_FILES) {
    throw new NearfarError('invalid-argument', `${path} holds ${entries.length} files, more than a model has`, {
      details: { path, files: entries.length },
    });
  }
  const files: [string, ModelFile][] = [];
  for (const entry of entries) {
    const full = join(entry.parentPath, entry.name);
    const name = relative(path, full).split(sep).join('/');
    if (!isWanted(name)) continue;
    const info = await stat(full).catch(() => undefined);
    if (info?.isFile()) files.push([name, openFile(full, info.size)]);
  }
  return new Map(files.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function openFile(path: string, byteLength: number): ModelFile {
  return {
    byteLength,
    async read(start, end) {
      if (!(start >= 0 && start <= end && end <= byteLength)) {
        throw new NearfarError('invalid-argument', `bytes ${start} to ${end} are outside ${path}, which has ${byteLength}`, {
          details: { path, start, end, byteLength },
        });
      }
      const bytes = new Uint8Array(end - start);
      await using file = await open(path, 'r');
      for (let done = 0; done < bytes.byteLength; ) {
        const { bytesRead } = await file.read(bytes, done, bytes.byteLength - done, start + done);
        if (bytesRead === 0) throw new NearfarError('unavailable', `${path} became shorter while it was read`, { details: { path } });
        done += bytesRead;
      }
      return bytes;
    },
  };
}

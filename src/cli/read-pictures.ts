import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { NearfarError, type Pixels } from '../core/index.ts';

/** What folders hold beside pictures is passed over. */
const PICTURE = /\.(jpe?g|png|gif|webp|avif)$/i;

/**
 * Pictures of files and folders (without their sub-folders), decoded as the server decodes them, in order of their names.
 * @throws {NearfarError} `not-found` for a path that is not there or a folder without pictures, `invalid-argument` for a file that is none.
 */
export async function readPictures(paths: readonly string[], signal: AbortSignal): Promise<Pixels[]> {
  // The decoder is a native library, which only this option needs.
  const { decodeImage } = await import('../server/media/index.ts');
  const pictures: Pixels[] = [];
  for (const file of (await Promise.all(paths.map(listPictures))).flat()) {
    try {
      pictures.push(await decodeImage(new Uint8Array(await readFile(file)), { signal }));
    } catch (error) {
      if (!(error instanceof NearfarError)) throw error;
      throw new NearfarError(error.code, `${file}: ${error.message}`, { cause: error, details: { ...error.details, file } });
    }
  }
  return pictures;
}

async function listPictures(path: string): Promise<string[]> {
  const info = await stat(path).catch((cause) => {
    throw new NearfarError('not-found', `there is no picture at ${path}`, { cause, details: { path } });
  });
  if (!info.isDirectory()) return [path];
  const names = (await readdir(path)).filter((name) => PICTURE.test(name)).sort();
  if (names.length === 0) throw new NearfarError('not-found', `${path} holds no pictures`, { details: { path } });
  return names.map((name) => join(path, name));
}

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { realpath } from 'node:fs/promises';
import { isAbsolute, join, relative, sep } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { NearfarError } from '../../core/index.ts';
import type { Logger } from '../log.ts';
import { fileStamp, isMissing, type VersionOnDisk } from './version-directory.ts';

type Check = { readonly stamp: string | undefined; readonly refusal: Promise<NearfarError | undefined> };

/** Finds files of versions on disk, and hands none out before its bytes were compared with the manifest. */
export interface CheckedFiles {
  /**
   * Where a listed file is, links resolved; undefined when it is not there. Its bytes are read the first time and again whenever the
   * file changed.
   * @throws {NearfarError} `integrity-mismatch` for other bytes than the manifest's, and for a link that leads out of the version's directory.
   */
  locate(version: VersionOnDisk, path: string): Promise<string | undefined>;
}

export function createCheckedFiles(log: Logger): CheckedFiles {
  // By version, so that what was remembered goes with it.
  const checks = new WeakMap<VersionOnDisk, Map<string, Check>>();
  return {
    locate: async (version, path) => {
      const file = await realpath(join(version.directory, path)).catch(missingAsUndefined);
      const stamp = file && (await fileStamp(file));
      if (file === undefined || stamp === undefined) return undefined;
      const known = checks.get(version) ?? new Map<string, Check>();
      checks.set(version, known);
      const key = `${path}\0${file}`;
      let check = known.get(key);
      if (check?.stamp !== stamp) {
        check = { stamp, refusal: refusalOf(version, { path, file, stamp }) };
        known.set(key, check);
        check.refusal.then(
          (refusal) =>
            refusal && log.error({ model: version.manifest.name, version: version.version, path }, `not served: ${refusal.message}`),
          // What could not be read is looked at again by the next request.
          () => known.delete(key),
        );
      }
      const refusal = await check.refusal;
      if (refusal) throw refusal;
      return file;
    },
  };
}

/** SHA-256 of a file as `sha256:…`, read in pieces. */
export async function fileDigest(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return `sha256:${hash.digest('hex')}`;
}

async function refusalOf(
  { manifest, version, directory }: VersionOnDisk,
  { path, file, stamp }: { path: string; file: string; stamp: string },
): Promise<NearfarError | undefined> {
  const name = `${path} of ${manifest.name} version ${version}`;
  if (!isInside(await realpath(directory), file)) {
    return new NearfarError('integrity-mismatch', `${name} is a link that leads out of the version's directory`, { details: { path } });
  }
  const want = manifest.files[path]?.digest;
  const got = await fileDigest(file);
  if (got !== want) {
    return new NearfarError('integrity-mismatch', `${name} has digest ${got}, the manifest says ${want}`, { details: { path, want, got } });
  }
  if ((await fileStamp(file)) === stamp) return undefined;
  // Thrown, not remembered: what was read may be neither the old file nor the new one.
  throw new NearfarError('unavailable', `${name} changes while it is read`, { details: { path } });
}

function isInside(directory: string, file: string): boolean {
  const inner = relative(directory, file);
  return inner !== '..' && !inner.startsWith(`..${sep}`) && !isAbsolute(inner);
}

function missingAsUndefined(error: unknown): undefined {
  if (!isMissing(error)) throw error;
}

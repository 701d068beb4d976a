import type { LockFile, VersionChoice } from '../core/index.ts';
import { type Repository, readManifest } from './repository.ts';

export interface LockRequest extends VersionChoice {
  readonly name: string;
}

/**
 * Pins models to the versions that a repository holds now: an explicit version, else a label, else `stable`, else the highest. Each manifest
 * is fetched and checked, so that a lock never names what cannot be had.
 * @throws {NearfarError} `not-found`, `network`, `invalid-argument`, `integrity-mismatch`.
 */
export async function createLock(repository: Repository, requests: readonly LockRequest[]): Promise<LockFile> {
  const models: [string, LockFile['models'][string]][] = [];
  for (const { name, ...choice } of requests) {
    const { pin } = await readManifest(repository, name, choice);
    models.push([name, { ...pin }]);
  }
  return { lockfileVersion: 1, models: Object.fromEntries(models) };
}

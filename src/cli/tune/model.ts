import { readdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { NearfarError, parseVersions, selectVersion } from '../../core/index.ts';
import { parseModelChoice } from '../parse-option.ts';

/** The one version that is tuned, on this disk. */
export interface TunedModel {
  readonly name: string;
  readonly version: string;
  /** Absolute; holds the version's folder. */
  readonly basePath: string;
}

/**
 * Finds a version in a folder of models: the one that is named, else `stable`, else the highest.
 * @param model A name, name@version or name@label.
 * @throws {NearfarError} `not-found`
 */
export async function findModel(folder: string, model: string): Promise<TunedModel> {
  const { name, version, label } = parseModelChoice(model);
  const basePath = resolve(folder, name);
  const missing = (what: string) => new NearfarError('not-found', `${basePath} has no ${what}`, { details: { name, folder } });
  const published = await readFile(join(basePath, 'versions.json')).catch(() => undefined);
  if (published) {
    const pin = selectVersion(parseVersions(new Uint8Array(published)), { version, label });
    return { name, version: pin.version, basePath };
  }
  if (label !== undefined) throw missing(`versions.json, which would say what ${label} is`);
  const folders = await readdir(basePath).catch(() => []);
  const versions = folders.filter((each) => /^[1-9]\d*$/.test(each)).sort((a, b) => Number(a) - Number(b));
  const found = version ?? versions.at(-1);
  if (found === undefined || !versions.includes(found)) throw missing(version === undefined ? 'versions' : `version ${version}`);
  return { name, version: found, basePath };
}

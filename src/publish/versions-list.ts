import { NearfarError, type Pin, type Versions } from '../core/index.ts';

// versions.json while a version is published, whatever holds it.

export function noVersions(name: string): Versions {
  return { schemaVersion: 1, name, versions: [], labels: {} };
}

/** versions.json with one more version; the first one gets the label `stable`. */
export function addVersion(versions: Versions, pin: Pin, labels: readonly string[]): Versions {
  const all = versions.versions.length === 0 ? ['stable', ...labels] : labels;
  return {
    ...versions,
    versions: [...versions.versions, { ...pin }].sort((a, b) => (BigInt(a.version) < BigInt(b.version) ? -1 : 1)),
    labels: { ...versions.labels, ...Object.fromEntries(all.map((label) => [label, pin.version])) },
  };
}

/** One more than the highest number in use, also by a version folder that versions.json does not name. */
export function nextVersion(folders: readonly string[], versions: Versions): string {
  const numbers = folders.filter((name) => /^[1-9][0-9]{0,18}$/.test(name));
  const used = [...numbers, ...versions.versions.map(({ version }) => version)].map(BigInt);
  return String(used.reduce((highest, version) => (version > highest ? version : highest), 0n) + 1n);
}

export function alreadyPublished(name: string, version: string): NearfarError {
  return new NearfarError('already-exists', `${name} version ${version} is already published; a published version is never overwritten`, {
    details: { name, version },
  });
}

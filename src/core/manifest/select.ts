import { NearfarError } from '../errors.ts';
import type { LockFile } from './lock.ts';
import { labelOfClient } from './traffic.ts';
import type { Versions } from './versions.ts';

/** One exact version of a model. */
export interface Pin {
  readonly version: string;
  readonly digest: string;
}

/** What an application asked for; nothing means: whatever the lock or the labels say. */
export interface VersionChoice {
  readonly version?: string | undefined;
  readonly label?: string | undefined;
}

/**
 * Which version is meant: explicit version > lock > explicit label > the client's share of the traffic > `stable` > highest.
 * @param client Tells the client apart from others; without it there are no shares.
 * @throws {NearfarError} `version-mismatch` when version, label or published digest disagree with the lock; `not-found`.
 */
export function selectVersion(versions: Versions, choice: VersionChoice, lock?: LockFile, client?: string): Pin {
  const { name } = versions;
  const locked = lock && Object.hasOwn(lock.models, name) ? lock.models[name] : undefined;
  const wanted =
    choice.version ??
    (choice.label === undefined ? locked?.version : labelled(versions, choice.label)) ??
    sharedOut(versions, client) ??
    versions.labels['stable'] ??
    highest(versions);
  const found = versions.versions.find(({ version }) => version === wanted);
  if (locked && wanted !== locked.version) {
    throw new NearfarError(
      'version-mismatch',
      `the lock file pins ${name} to version ${locked.version}, ${describe(choice, wanted)} was asked for`,
      {
        details: { name, want: locked.version, got: wanted },
      },
    );
  }
  if (!found) {
    const published = versions.versions.map(({ version }) => version);
    throw new NearfarError('not-found', `${name} has no published version ${wanted}; published: ${published.join(', ') || 'none'}`, {
      details: { name, version: wanted, published },
    });
  }
  if (locked && found.digest !== locked.digest) {
    throw new NearfarError(
      'version-mismatch',
      `the lock file pins ${name} version ${locked.version} to ${locked.digest}, the repository has ${found.digest}`,
      {
        details: { name, version: wanted, want: locked.digest, got: found.digest },
      },
    );
  }
  return { version: found.version, digest: found.digest };
}

function sharedOut(versions: Versions, client: string | undefined): string | undefined {
  const label = client === undefined || !versions.traffic ? undefined : labelOfClient(versions.traffic, versions.name, client);
  // As on the server: a share of a label that is gone is nobody's, and stops none of its clients.
  return label !== undefined && Object.hasOwn(versions.labels, label) ? versions.labels[label] : undefined;
}

function describe(choice: VersionChoice, wanted: string): string {
  return choice.version === undefined ? `label ${choice.label} (version ${wanted})` : `version ${wanted}`;
}

function labelled({ name, labels }: Versions, label: string): string {
  const version = Object.hasOwn(labels, label) ? labels[label] : undefined;
  if (version !== undefined) return version;
  throw new NearfarError('not-found', `${name} has no label ${label}; labels: ${Object.keys(labels).join(', ') || 'none'}`, {
    details: { name, label, labels: Object.keys(labels) },
  });
}

function highest({ name, versions }: Versions): string {
  const [first, ...rest] = versions.map(({ version }) => BigInt(version));
  if (first === undefined) throw new NearfarError('not-found', `${name} has no published version`, { details: { name } });
  return rest.reduce((max, version) => (version > max ? version : max), first).toString();
}

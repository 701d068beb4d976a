import { readFile } from 'node:fs/promises';
import type { FastifyInstance } from 'fastify';
import { parseVersions, type Versions } from '../../../core/index.ts';
import type { PublishedFiles } from '../../repository/index.ts';
import type { ServableStore, VersionStatus } from '../../servables/index.ts';
import type { RestContext } from '../context.ts';

/** What the server has: each model's versions with state, labels and digest. */
export function addModels(app: FastifyInstance, { servables, files }: RestContext): void {
  app.get('/nearfar/v1/models', async () => ({
    models: await Promise.all(servables.names().map((name) => describeModel(servables, files, name))),
  }));
}

async function describeModel(servables: ServableStore, files: PublishedFiles, name: string): Promise<object> {
  const published = await readVersions(files, name);
  const versions = statusesOf(servables, name).map((status) => describeVersion(servables, name, status, published));
  return { name, labels: published?.labels ?? {}, versions };
}

/** A model that is configured and has no version yet has no status either. */
function statusesOf(servables: ServableStore, name: string): readonly VersionStatus[] {
  try {
    return servables.status({ name });
  } catch {
    return [];
  }
}

function describeVersion(servables: ServableStore, name: string, status: VersionStatus, published: Versions | undefined): object {
  const { version, state, errorMessage } = status;
  const digest = published?.versions.find((candidate) => candidate.version === version)?.digest;
  const described = { version, state, digest, labels: labelsOf(published, version), ...(errorMessage !== '' && { error: errorMessage }) };
  if (state !== 'AVAILABLE') return described;
  using handle = servables.lend({ name, version });
  return { ...described, digest: handle.digest, backend: handle.backend, variant: handle.variant };
}

function labelsOf(published: Versions | undefined, version: string): string[] {
  return Object.entries(published?.labels ?? {}).flatMap(([label, target]) => (target === version ? [label] : []));
}

async function readVersions(files: PublishedFiles, name: string): Promise<Versions | undefined> {
  const file = await files.find(`${name}/versions.json`);
  if (!file) return undefined;
  return parseVersions('bytes' in file.body ? file.body.bytes : await readFile(file.body.path));
}

import type { FastifyInstance } from 'fastify';
import { type Manifest, NearfarError } from '../../../core/index.ts';
import { type LoadedVersion, platformOf, type ServableStore, type VersionStatus } from '../../servables/index.ts';
import type { ModelAdmin } from '../../served-models.ts';
import type { RestContext } from '../context.ts';
import { canonicalVersion } from '../model-spec.ts';
import { versionStatuses } from '../version-statuses.ts';

/** What the server has: each model's versions with state, labels and digest, and of loaded ones the tasks; and how it batches them. */
export function addModels(app: FastifyInstance, { servables, batching, admin }: RestContext): void {
  app.get('/nearfar/v1/batching', async () => ({ signatures: batching?.() ?? [] }));
  app.get('/nearfar/v1/stores', async () => ({ stores: admin.models.storeStatuses() }));
  app.get('/nearfar/v1/models', async () => describeModels(servables, admin.models));
  app.get<{ Params: { model: string; version: string } }>('/nearfar/v1/models/:model/versions/:version', async ({ params }) => {
    const { model: name } = params;
    if (!/^\d+$/.test(params.version)) throw new NearfarError('invalid-argument', `expected a version's number, got ${params.version}`);
    const version = canonicalVersion(params.version);
    const status = versionStatuses(servables, name).find((one) => one.version === version);
    const { source, loaded } = admin.models.version(name, version);
    if (!status && !source)
      throw new NearfarError('not-found', `Could not find version ${version} of model ${name}`, { details: { name, version } });
    // One that nobody asked for yet lies in the folder alone.
    const unasked = { version, state: 'UNKNOWN', digest: source?.digest, labels: [] };
    return {
      model: name,
      ...(status ? describeVersion(servables, name, status) : unasked),
      ...(source && describeContents(source.manifest)),
      ...(loaded && describeLoaded(loaded)),
      batching: (batching?.() ?? []).filter((report) => report.model === name && report.version === version),
    };
  });
}

/** What `GET /nearfar/v1/models` answers. */
export function describeModels(
  servables: ServableStore,
  models: Pick<ModelAdmin, 'storeStatus' | 'published'>,
): { readonly models: readonly object[] } {
  const describeStore = (name: string) => {
    const { location, error, failingSince } = models.storeStatus(name) ?? {};
    return location === undefined ? undefined : { location, error, failingSince };
  };
  return {
    models: servables
      .names()
      .map((name) => ({ ...describeModel(servables, name), published: models.published(name), store: describeStore(name) })),
  };
}

/** What is in a version, by its manifest. */
function describeContents(manifest: Manifest): object {
  const { signatures, tasks = {}, license, description, files, variants, golden } = manifest;
  return {
    license,
    description,
    signatures,
    tasks,
    variants: variants.map((variant) => {
      const { id, format, precision, requires } = variant;
      return { id, format, precision, requires, bytes: bytesOf(manifest, variant.files) };
    }),
    goldenExamples: golden.length,
    bytes: bytesOf(manifest, Object.keys(files)),
  };
}

/**
 * What holds a version. Its memory is what the files of its variant take in the workers that hold it, the least that it costs: what engines
 * add for activations, or on a GPU, none of them tells.
 */
function describeLoaded({ source: { manifest }, backend, variant, workers, loadedAt, inFlight }: LoadedVersion): object {
  const { files = [] } = manifest.variants.find(({ id }) => id === variant) ?? {};
  return {
    platform: platformOf(backend),
    parallelism: workers,
    memoryBytes: workers * bytesOf(manifest, files),
    inFlight,
    loadedAt,
  };
}

function bytesOf({ files }: Manifest, paths: readonly string[]): number {
  return paths.reduce((sum, path) => sum + (files[path]?.bytes ?? 0), 0);
}

function describeModel(servables: ServableStore, name: string): object {
  return {
    name,
    labels: servables.labels(name),
    traffic: servables.traffic(name),
    versions: versionStatuses(servables, name).map((status) => describeVersion(servables, name, status)),
  };
}

function describeVersion(servables: ServableStore, name: string, status: VersionStatus): object {
  const { version, state, digest, errorMessage } = status;
  const labels = Object.entries(servables.labels(name)).flatMap(([label, target]) => (target === version ? [label] : []));
  const described = { version, state, digest, labels, ...(errorMessage !== '' && { error: errorMessage }) };
  if (state !== 'AVAILABLE') return described;
  using handle = servables.lend({ name, version });
  return { ...described, backend: handle.backend, variant: handle.variant, tasks: Object.keys(handle.manifest.tasks ?? {}) };
}

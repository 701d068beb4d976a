import type { FastifyInstance } from 'fastify';
import { NearfarError } from '../../../core/index.ts';
import type { ServableStore, VersionStatus } from '../../servables/index.ts';
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
    const [status] = servables.status({ name, version });
    if (!status) throw new NearfarError('not-found', `Could not find version ${version} of model ${name}`);
    return {
      model: name,
      ...describeVersion(servables, name, status),
      ...(status.state === 'AVAILABLE' && describeContents(servables, { name, version })),
      batching: (batching?.() ?? []).filter((report) => report.model === name && report.version === version),
    };
  });
}

/** What `GET /nearfar/v1/models` answers. */
export function describeModels(servables: ServableStore, models: Pick<ModelAdmin, 'storeStatus'>): { readonly models: readonly object[] } {
  const describeStore = (name: string) => {
    const { location, error, failingSince } = models.storeStatus(name) ?? {};
    return location === undefined ? undefined : { location, error, failingSince };
  };
  return { models: servables.names().map((name) => ({ ...describeModel(servables, name), store: describeStore(name) })) };
}

/** What is in a version, by its manifest. No engine tells how much memory it takes: `bytes` are those of its files. */
function describeContents(servables: ServableStore, spec: { readonly name: string; readonly version: string }): object {
  using handle = servables.lend(spec);
  const { manifest, platform, parallelism } = handle;
  const { signatures, tasks, license, description, files } = manifest;
  const bytesOf = (paths: readonly string[]) => paths.reduce((sum, path) => sum + (files[path]?.bytes ?? 0), 0);
  return {
    platform,
    parallelism,
    license,
    description,
    signatures,
    tasks: tasks ?? {},
    variants: manifest.variants.map(({ id, format, precision, requires, files: paths }) => ({
      id,
      format,
      precision,
      requires,
      bytes: bytesOf(paths),
    })),
    goldenExamples: manifest.golden?.length ?? 0,
    bytes: bytesOf(Object.keys(files)),
  };
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

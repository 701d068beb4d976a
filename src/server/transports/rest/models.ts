import type { FastifyInstance } from 'fastify';
import type { ServableStore, VersionStatus } from '../../servables/index.ts';
import type { RestContext } from '../context.ts';
import { versionStatuses } from '../version-statuses.ts';

/** What the server has: each model's versions with state, labels and digest, and of loaded ones the tasks; and how it batches them. */
export function addModels(app: FastifyInstance, { servables, batching, admin }: RestContext): void {
  app.get('/nearfar/v1/batching', async () => ({ signatures: batching?.() ?? [] }));
  app.get('/nearfar/v1/models', async () => ({
    models: servables.names().map((name) => ({ ...describeModel(servables, name), store: admin.models.storeStatus(name) })),
  }));
  app.get('/nearfar/v1/stores', async () => ({ stores: admin.models.storeStatuses() }));
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

import { create } from '@bufbuild/protobuf';
import {
  ModelServerConfigSchema,
  type ReloadConfigRequest,
  type ReloadConfigResponse,
  ReloadConfigResponseSchema,
} from '../../../core/index.ts';
import { toModelSources } from '../../model-config.ts';
import { assertMayChange } from '../admin.ts';
import type { GrpcContext } from '../context.ts';
import type { UnaryCall } from './unary.ts';

/** ModelService.HandleReloadConfigRequest: the config supersedes the whole one before, and is answered when new models are available. */
export async function reloadConfig(
  { admin }: GrpcContext,
  { config, metricNames }: ReloadConfigRequest,
  { signal, peer, header }: UnaryCall,
): Promise<ReloadConfigResponse> {
  assertMayChange(admin, { address: peer, header });
  const models = toModelSources(config ?? create(ModelServerConfigSchema));
  const totals = async () => Promise.all(metricNames.map((name) => admin.metricTotal(name)));
  const before = await totals();
  await admin.models.replaceAll(models, { signal });
  const after = await totals();
  return create(ReloadConfigResponseSchema, {
    status: { errorCode: 0, errorMessage: '' },
    metric: metricNames.map((name, index) => ({
      name,
      valueIncrease: { case: 'int64ValueIncrease' as const, value: BigInt(Math.round((after[index] ?? 0) - (before[index] ?? 0))) },
    })),
  });
}

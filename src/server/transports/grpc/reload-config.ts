import { create } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import {
  ModelServerConfigSchema,
  type NearfarError,
  type ReloadConfigRequest,
  type ReloadConfigResponse,
  ReloadConfigResponseSchema,
} from '../../../core/index.ts';
import { toModelSources } from '../../model-config.ts';
import { actorOf } from '../admin.ts';
import { observeControl } from '../call.ts';
import type { GrpcContext } from '../context.ts';
import type { UnaryCall } from './unary.ts';

/** ModelService.HandleReloadConfigRequest: the config supersedes the whole one before, and is answered when new models are available. */
export function reloadConfig(context: GrpcContext, request: ReloadConfigRequest, call: UnaryCall): Promise<ReloadConfigResponse> {
  const observed = { model: '', api: 'HandleReloadConfigRequest', entrypoint: 'GRPC', header: call.header } as const;
  return observeControl(context, observed, () => reload(context, request, call));
}

/** Models that cannot be loaded are UNKNOWN for TensorFlow Serving, so that no client sends the config again by itself. */
export function reloadStatus({ details }: NearfarError): number | undefined {
  return 'models' in details ? status.UNKNOWN : undefined;
}

async function reload(
  { admin }: GrpcContext,
  { config, metricNames }: ReloadConfigRequest,
  call: UnaryCall,
): Promise<ReloadConfigResponse> {
  const models = toModelSources(config ?? create(ModelServerConfigSchema));
  const measure = async () => Promise.all(metricNames.map((name) => admin.metricValues(name)));
  const before = await measure();
  await admin.models.replaceAll(models, { signal: call.signal, by: actorOf(call, 'gRPC') });
  const after = await measure();
  return create(ReloadConfigResponseSchema, {
    status: { errorCode: 0, errorMessage: '' },
    metric: metricNames.map((name, index) => ({
      name,
      valueIncrease: { case: 'int64ValueIncrease' as const, value: increaseOf(before[index], after[index]) },
    })),
  });
}

/** By labels, as those of a model that is served no more are dropped. */
function increaseOf(before: ReadonlyMap<string, number> = new Map(), after: ReadonlyMap<string, number> = new Map()): bigint {
  const increases = [...after].map(([labels, value]) => value - (before.get(labels) ?? 0));
  return BigInt(Math.round(increases.reduce((sum, increase) => sum + increase, 0)));
}

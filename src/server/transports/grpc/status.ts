import { create } from '@bufbuild/protobuf';
import { type GetModelStatusRequest, type GetModelStatusResponse, GetModelStatusResponseSchema } from '../../../core/index.ts';
import { servableStates } from '../../servables/index.ts';
import { observeControl } from '../call.ts';
import type { GrpcContext } from '../context.ts';
import { toServableSpec } from './model-spec.ts';
import type { UnaryCall } from './unary.ts';

/** ModelService.GetModelStatus; like theirs it ignores a label and then tells of all versions. */
export function status(context: GrpcContext, request: GetModelStatusRequest, { header }: UnaryCall): Promise<GetModelStatusResponse> {
  const observed = { model: request.modelSpec?.name ?? '', api: 'GetModelStatus', entrypoint: 'GRPC', header } as const;
  return observeControl(context, observed, () => describe(context, request));
}

function describe({ servables }: GrpcContext, request: GetModelStatusRequest): GetModelStatusResponse {
  const { name, version } = toServableSpec(request.modelSpec);
  return create(GetModelStatusResponseSchema, {
    modelVersionStatus: servables.status({ name, version }).map((found) => ({
      version: BigInt(found.version),
      state: servableStates[found.state],
      status: { errorCode: found.errorCode, errorMessage: found.errorMessage },
    })),
  });
}

import { create } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import {
  type GetModelMetadataRequest,
  type GetModelMetadataResponse,
  GetModelMetadataResponseSchema,
  NearfarError,
  SignatureDefMapSchema,
  signatureDefMap,
} from '../../../core/index.ts';
import { observeControl } from '../call.ts';
import type { GrpcContext } from '../context.ts';
import { toModelSpec, toServableSpec } from './model-spec.ts';
import { setVersionTrailer, type UnaryCall } from './unary.ts';

const signatureField = 'signature_def';

/** PredictionService.GetModelMetadata: the signatures of a version. */
export function metadata(context: GrpcContext, request: GetModelMetadataRequest, call: UnaryCall): Promise<GetModelMetadataResponse> {
  const observed = { model: request.modelSpec?.name ?? '', api: 'GetModelMetadata', entrypoint: 'GRPC', header: call.header } as const;
  return observeControl(context, observed, () => describe(context, request, call));
}

function describe({ servables }: GrpcContext, request: GetModelMetadataRequest, call: UnaryCall): GetModelMetadataResponse {
  const spec = toServableSpec(request.modelSpec);
  if (request.metadataField.length === 0) {
    throw new NearfarError('invalid-argument', 'GetModelMetadataRequest must specify at least one metadata_field');
  }
  for (const field of request.metadataField) {
    if (field !== signatureField) throw new NearfarError('invalid-argument', `Metadata field ${field} is not supported`);
  }
  using handle = servables.lend({ ...spec, digest: call.wantedDigest });
  setVersionTrailer(call.trailer, handle);
  return create(GetModelMetadataResponseSchema, {
    modelSpec: toModelSpec(handle, ''),
    metadata: { [signatureField]: anyPack(SignatureDefMapSchema, signatureDefMap(handle.manifest, handle.variant)) },
  });
}

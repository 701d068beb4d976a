import { create } from '@bufbuild/protobuf';
import type { Server } from '@grpc/grpc-js';
import {
  GRPCInferenceService,
  ModelMetadataResponseSchema,
  ModelReadyResponseSchema,
  NearfarError,
  ServerLiveResponseSchema,
  ServerMetadataResponseSchema,
  ServerReadyResponseSchema,
} from '../../../core/index.ts';
import type { GrpcContext } from '../context.ts';
import { inferenceExtensions, inferenceModelMetadata } from '../inference-metadata.ts';
import { versionOrLabel } from '../model-spec.ts';
import { infer, takeOverInfer } from './infer.ts';
import { addUnary, setVersionTrailer } from './unary.ts';

/** The Open Inference Protocol over gRPC: inference.GRPCInferenceService. */
export function addOpenInference(server: Server, context: GrpcContext): void {
  const { servables, log, serverVersion } = context;
  const { method } = GRPCInferenceService;
  addUnary(server, method.serverLive, log, () => create(ServerLiveResponseSchema, { live: true }));
  addUnary(server, method.serverReady, log, () => create(ServerReadyResponseSchema, { ready: servables.isReady() }));
  addUnary(server, method.serverMetadata, log, () =>
    create(ServerMetadataResponseSchema, { name: 'nearfar', version: serverVersion, extensions: [...inferenceExtensions] }),
  );
  addUnary(server, method.modelReady, log, ({ name, version }, { wantedDigest, trailer }) => {
    try {
      using handle = servables.lend({ name, ...versionOrLabel(version), digest: wantedDigest });
      setVersionTrailer(trailer, handle);
      return create(ModelReadyResponseSchema, { ready: true });
    } catch (error) {
      // Triton answers false for a model it does not have; anything but a refusal to lend is an error.
      if (error instanceof NearfarError) return create(ModelReadyResponseSchema, { ready: false });
      throw error;
    }
  });
  addUnary(server, method.modelMetadata, log, ({ name, version }, { wantedDigest, trailer }) => {
    using handle = servables.lend({ name, ...versionOrLabel(version), digest: wantedDigest });
    setVersionTrailer(trailer, handle);
    const { inputs, outputs, ...rest } = inferenceModelMetadata(servables, handle);
    const toMessages = (tensors: typeof inputs) => tensors.map((tensor) => ({ ...tensor, shape: tensor.shape.map(BigInt) }));
    return create(ModelMetadataResponseSchema, { ...rest, inputs: toMessages(inputs), outputs: toMessages(outputs) });
  });
  addUnary(server, method.modelInfer, log, (request, call) => infer(context, request, call), {
    takeOver: (request) => takeOverInfer(request, context.buffers),
  });
}

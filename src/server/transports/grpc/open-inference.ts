import { create, type DescMessage, fromJson, type JsonObject, type MessageShape } from '@bufbuild/protobuf';
import { type Server, status } from '@grpc/grpc-js';
import {
  GRPCInferenceService,
  ModelConfigResponseSchema,
  ModelMetadataResponseSchema,
  ModelReadyResponseSchema,
  ModelStatisticsResponseSchema,
  NearfarError,
  RepositoryIndexResponseSchema,
  RepositoryModelLoadResponseSchema,
  RepositoryModelUnloadResponseSchema,
  readModelInferRequest,
  ServerLiveResponseSchema,
  ServerMetadataResponseSchema,
  ServerReadyResponseSchema,
  writeModelInferResponse,
} from '../../../core/index.ts';
import type { ServableHandle } from '../../servables/index.ts';
import { actorOf } from '../admin.ts';
import { observeControl } from '../call.ts';
import type { GrpcContext } from '../context.ts';
import { inferenceExtensions, inferenceModelMetadata } from '../inference-metadata.ts';
import { modelConfig } from '../model-config.ts';
import { versionOrLabel } from '../model-spec.ts';
import { modelStatistics } from '../model-statistics.ts';
import { parseLoadParameters } from '../repository-control.ts';
import { repositoryIndex } from '../repository-index.ts';
import { infer, plainParameters, takeOverInfer } from './infer.ts';
import { addInferStream } from './infer-stream.ts';
import type { OpenStreams } from './streams.ts';
import { addUnary, setVersionTrailer, type UnaryCall, type UnaryMethods } from './unary.ts';

/** The Open Inference Protocol over gRPC, with Triton's extensions: inference.GRPCInferenceService. */
export function addOpenInference(server: Server, methods: UnaryMethods, context: GrpcContext, streams: OpenStreams): void {
  const { servables, serverVersion, admin } = context;
  const { method } = GRPCInferenceService;
  const observe = <T>(model: string, api: string, { header }: UnaryCall, work: () => T | Promise<T>) =>
    observeControl(context, { model, api, entrypoint: 'GRPC', header }, work);
  const lend = ({ name, version }: { name: string; version: string }, { wantedDigest, trailer }: UnaryCall): ServableHandle => {
    const handle = servables.lend({ name, ...versionOrLabel(version), digest: wantedDigest });
    setVersionTrailer(trailer, handle);
    return handle;
  };

  addUnary(methods, method.serverLive, context, () => create(ServerLiveResponseSchema, { live: true }));
  addUnary(methods, method.serverReady, context, () => create(ServerReadyResponseSchema, { ready: servables.isReady() }));
  addUnary(methods, method.serverMetadata, context, () =>
    create(ServerMetadataResponseSchema, { name: 'nearfar', version: serverVersion, extensions: [...inferenceExtensions] }),
  );
  addUnary(methods, method.modelReady, context, (request, call) => {
    try {
      using _handle = lend(request, call);
      return create(ModelReadyResponseSchema, { ready: true });
    } catch (error) {
      // Triton answers false for a model it does not have; anything but a refusal to lend is an error.
      if (error instanceof NearfarError) return create(ModelReadyResponseSchema, { ready: false });
      throw error;
    }
  });
  addUnary(methods, method.modelMetadata, context, (request, call) =>
    observe(request.name, 'ModelMetadata', call, () => {
      using handle = lend(request, call);
      return fromPlain(ModelMetadataResponseSchema, inferenceModelMetadata(servables, handle));
    }),
  );
  addUnary(methods, method.modelConfig, context, (request, call) =>
    observe(request.name, 'ModelConfig', call, () => {
      using handle = lend(request, call);
      return fromPlain(ModelConfigResponseSchema, { config: modelConfig(handle) });
    }),
  );
  addUnary(methods, method.modelStatistics, context, ({ name, version }, call) =>
    observe(name, 'ModelStatistics', call, () => fromPlain(ModelStatisticsResponseSchema, modelStatistics(context, name, version))),
  );
  addUnary(methods, method.repositoryIndex, context, ({ ready }, call) =>
    observe('', 'RepositoryIndex', call, () => create(RepositoryIndexResponseSchema, { models: [...repositoryIndex(servables, ready)] })),
  );
  addUnary(methods, method.repositoryModelLoad, context, ({ modelName, parameters }, call) =>
    observe(modelName, 'RepositoryModelLoad', call, async () => {
      await admin.onDemand.load(modelName, parseLoadParameters(plainParameters(parameters)), {
        signal: call.signal,
        by: actorOf(call, 'gRPC'),
      });
      return create(RepositoryModelLoadResponseSchema);
    }),
  );
  addUnary(methods, method.repositoryModelUnload, context, ({ modelName }, call) =>
    observe(modelName, 'RepositoryModelUnload', call, async () => {
      await admin.onDemand.unload(modelName, { by: actorOf(call, 'gRPC') });
      return create(RepositoryModelUnloadResponseSchema);
    }),
  );
  addUnary(methods, method.modelInfer, context, (request, call) => infer(context, request, call, writeModelInferResponse), {
    read: readModelInferRequest,
    takeOver: (request) => takeOverInfer(request, context.buffers),
  });
  addInferStream(server, context, streams);
  refuseUnserved(server);
}

/** A message from the JSON that says the same over HTTP. */
function fromPlain<M extends DescMessage>(schema: M, plain: object): MessageShape<M> {
  return fromJson(schema, plain as JsonObject); // made of plain values alone
}

const sharedMemory = 'shared memory is not served: send tensors in raw_input_contents';
const unserved: Readonly<Record<string, string>> = {
  SystemSharedMemoryStatus: sharedMemory,
  SystemSharedMemoryRegister: sharedMemory,
  SystemSharedMemoryUnregister: sharedMemory,
  CudaSharedMemoryStatus: sharedMemory,
  CudaSharedMemoryRegister: sharedMemory,
  CudaSharedMemoryUnregister: sharedMemory,
  TraceSetting: 'traces are set when the server starts',
  LogSettings: 'the log is set when the server starts',
};

/** Triton's other methods, with the reason instead of gRPC's own text. */
function refuseUnserved(server: Server): void {
  for (const [name, details] of Object.entries(unserved)) {
    server.register<Buffer, Buffer>(
      `/${GRPCInferenceService.typeName}/${name}`,
      (_: unknown, callback: (error: object) => void) => callback({ code: status.UNIMPLEMENTED, details }),
      (bytes) => bytes,
      (bytes) => bytes,
      'unary',
    );
  }
}

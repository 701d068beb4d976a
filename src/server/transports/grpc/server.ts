import { Server, ServerCredentials } from '@grpc/grpc-js';
import { GRPCInferenceService, Health, ModelService, NearfarError, PredictionService } from '../../../core/index.ts';
import type { GrpcContext, Transport } from '../context.ts';
import { classify } from './classify.ts';
import { addHealth } from './health.ts';
import { metadata } from './metadata.ts';
import { multiInference } from './multi-inference.ts';
import { addOpenInference } from './open-inference.ts';
import { predict, takeOverPredict } from './predict.ts';
import { addReflection } from './reflection.ts';
import { regress } from './regress.ts';
import { reloadConfig } from './reload-config.ts';
import { status } from './status.ts';
import { OpenStreams } from './streams.ts';
import { addUnary } from './unary.ts';

/** TensorFlow Serving takes messages up to the largest int32. */
const maxMessageBytes = 2 ** 31 - 1;

/**
 * The gRPC side of the server: PredictionService, ModelService, GRPCInferenceService, health and reflection. What is not
 * registered, such as TensorFlow's ProfilerService, is answered UNIMPLEMENTED.
 */
export function createGrpcServer(context: GrpcContext): Transport {
  const { log } = context;
  const server = new Server({ 'grpc.max_receive_message_length': maxMessageBytes, 'grpc.max_send_message_length': maxMessageBytes });
  addUnary(server, PredictionService.method.predict, log, (request, call) => predict(context, request, call), {
    takeOver: (request) => takeOverPredict(request, context.buffers),
  });
  addUnary(server, PredictionService.method.classify, log, (request, call) => classify(context, request, call));
  addUnary(server, PredictionService.method.regress, log, (request, call) => regress(context, request, call));
  addUnary(server, PredictionService.method.multiInference, log, (request, call) => multiInference(context, request, call));
  addUnary(server, PredictionService.method.getModelMetadata, log, (request, call) => metadata(context, request, call));
  addUnary(server, ModelService.method.getModelStatus, log, (request, call) => status(context, request, call));
  addUnary(server, ModelService.method.handleReloadConfigRequest, log, (request, call) => reloadConfig(context, request, call));
  const streams = new OpenStreams();
  addOpenInference(server, context, streams);
  addHealth(server, context, streams);
  addReflection(server, [PredictionService, ModelService, GRPCInferenceService, Health], streams);
  return {
    listen: ({ host, port }) =>
      new Promise((resolve, reject) => {
        const address = `${host.includes(':') ? `[${host}]` : host}:${port}`;
        server.bindAsync(address, ServerCredentials.createInsecure(), (cause, bound) => {
          if (cause)
            reject(
              new NearfarError('unavailable', `cannot listen on ${address}: ${cause.message}`, {
                cause,
                details: { transport: 'grpc', host, port },
              }),
            );
          else resolve({ port: bound });
        });
      }),
    accept: async () => {
      const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
      return (socket) => injector.injectConnection(socket);
    },
    close: () =>
      new Promise((resolve, reject) => {
        server.tryShutdown((error) => (error ? reject(error) : resolve()));
        streams.endAll();
      }),
    cut: () => server.forceShutdown(),
  };
}

import { ServerCredentials } from '@grpc/grpc-js';
import { GRPCInferenceService, Health, ModelService, NearfarError, PredictionService, readPredictRequest } from '../../../core/index.ts';
import type { TlsIdentity } from '../../ssl-config.ts';
import { defaultLameDuckMs, type GrpcContext, type GrpcTransport } from '../context.ts';
import { lastCall } from '../last-call.ts';
import { classify } from './classify.ts';
import { answerDirectly } from './direct.ts';
import { registerUnary } from './grpc-js-call.ts';
import { GuardedServer } from './guard.ts';
import { addHealth } from './health.ts';
import { metadata } from './metadata.ts';
import { multiInference } from './multi-inference.ts';
import { addOpenInference } from './open-inference.ts';
import { predict, takeOverPredict } from './predict.ts';
import { addReflection } from './reflection.ts';
import { regress } from './regress.ts';
import { reloadConfig, reloadStatus } from './reload-config.ts';
import { status } from './status.ts';
import { OpenStreams } from './streams.ts';
import { addUnary, type UnaryMethods } from './unary.ts';
import { clearSocketPath } from './unix-socket.ts';

/** `--grpc_channel_arguments` may say otherwise. */
const defaultArguments = {
  // TensorFlow Serving takes messages up to the largest int32.
  'grpc.max_receive_message_length': 2 ** 31 - 1,
  'grpc.max_send_message_length': 2 ** 31 - 1,
  // Of one connection; clients hold further calls back until one of theirs has ended.
  'grpc.max_concurrent_streams': 1024,
  // Connections whose other end is gone, or never spoke HTTP/2, are ended.
  'grpc.keepalive_time_ms': 120_000,
  'grpc.keepalive_timeout_ms': 20_000,
};

/** The longest delay of a timer: whoever closes the server cuts what lasts too long. */
const longestMs = 2 ** 31 - 1;

/**
 * The gRPC side of the server: PredictionService, ModelService, GRPCInferenceService, health and reflection. What is not
 * registered, such as TensorFlow's ProfilerService, is answered UNIMPLEMENTED.
 */
export function createGrpcServer(context: GrpcContext): GrpcTransport {
  const { tls, lameDuckMs = defaultLameDuckMs, channelArguments } = context;
  const options = { ...defaultArguments, ...channelArguments };
  const server = new GuardedServer(options, context);
  const methods: UnaryMethods = new Map();
  addUnary(methods, PredictionService.method.predict, context, (request, call) => predict(context, request, call), {
    read: readPredictRequest,
    takeOver: (request) => takeOverPredict(request, context.buffers),
  });
  addUnary(methods, PredictionService.method.classify, context, (request, call) => classify(context, request, call));
  addUnary(methods, PredictionService.method.regress, context, (request, call) => regress(context, request, call));
  addUnary(methods, PredictionService.method.multiInference, context, (request, call) => multiInference(context, request, call));
  addUnary(methods, PredictionService.method.getModelMetadata, context, (request, call) => metadata(context, request, call));
  addUnary(methods, ModelService.method.getModelStatus, context, (request, call) => status(context, request, call));
  addUnary(methods, ModelService.method.handleReloadConfigRequest, context, (request, call) => reloadConfig(context, request, call), {
    statusOf: reloadStatus,
  });
  const streams = new OpenStreams();
  addOpenInference(server, methods, context, streams);
  addHealth(server, methods, context, streams);
  addReflection(server, [PredictionService, ModelService, GRPCInferenceService, Health], streams);
  for (const [path, answer] of methods) registerUnary(server, path, answer);
  const takeCalls = answerDirectly(server, methods, options, context);
  const bind = (address: string, where: object, credentials: ServerCredentials): Promise<number> =>
    new Promise((resolve, reject) => {
      server.bindAsync(address, credentials, (cause, port) => {
        if (!cause) {
          takeCalls();
          return resolve(port);
        }
        reject(new NearfarError('unavailable', `cannot listen on ${address}: ${cause.message}`, { cause, details: { ...where } }));
      });
    });
  const bound: string[] = [];
  let onCut = () => {};
  const cut = new Promise<'cut'>((resolve) => {
    onCut = () => resolve('cut');
  });
  const shutDown = async () => {
    if (bound.length > 0) await lastCall(lameDuckMs);
    context.admission.startDraining();
    // Clients look for another server now. Those that come back here are told why they are refused, while others are still answered.
    for (const address of bound) server.drain(address, longestMs);
    streams.endAll();
    if ((await Promise.race([context.admission.whenIdle(), cut])) === 'cut') return;
    await new Promise<void>((resolve, reject) => {
      server.tryShutdown((error) => (error ? reject(error) : resolve()));
      streams.endAll();
    });
  };
  let draining: Promise<void> | undefined;
  const drain = () => {
    draining ??= shutDown();
    return draining;
  };
  return {
    listen: async ({ host, port }) => {
      const address = `${host.includes(':') ? `[${host}]` : host}:${port}`;
      const boundPort = await bind(address, { transport: 'grpc', host, port }, credentialsOf(tls));
      bound.push(address.replace(/\d+$/, String(boundPort)));
      return { port: boundPort };
    },
    listenAtSocket: async (path) => {
      await clearSocketPath(path);
      await bind(`unix:${path}`, { transport: 'socket', path }, ServerCredentials.createInsecure());
      bound.push(`unix:${path}`);
    },
    accept: async () => {
      const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
      takeCalls();
      return (socket) => injector.injectConnection(socket);
    },
    drain,
    close: drain,
    cut: () => {
      onCut();
      server.forceShutdown();
    },
  };
}

function credentialsOf(tls: TlsIdentity | undefined): ServerCredentials {
  if (!tls) return ServerCredentials.createInsecure();
  const { key, cert, clientCa, requiresClientCertificate } = tls;
  const pair = { private_key: Buffer.from(key), cert_chain: Buffer.from(cert) };
  return ServerCredentials.createSsl(clientCa === undefined ? null : Buffer.from(clientCa), [pair], requiresClientCertificate);
}

import { create, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf';
import type { Server, ServerWritableStream } from '@grpc/grpc-js';
import {
  Health,
  HealthCheckResponseSchema,
  NearfarError,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from '../../../core/index.ts';
import type { GrpcContext } from '../context.ts';
import type { OpenStreams } from './streams.ts';
import { addUnary, type UnaryMethods } from './unary.ts';

/** Services by their full names, and by the bare ones that TensorFlow Serving uses here. */
const services: ReadonlySet<string> = new Set([
  '',
  'ModelService',
  'PredictionService',
  'tensorflow.serving.ModelService',
  'tensorflow.serving.PredictionService',
  'inference.GRPCInferenceService',
]);

/**
 * grpc.health.v1: unlike TensorFlow Serving's it says whether the models can answer, and false while the server drains. A name that
 * is no service's may be a model's.
 */
export function addHealth(server: Server, methods: UnaryMethods, context: GrpcContext, streams: OpenStreams): void {
  const { servables } = context;
  const statusOf = (service: string): ServingStatus => {
    if (services.has(service)) return servables.isReady() ? ServingStatus.SERVING : ServingStatus.NOT_SERVING;
    if (!servables.names().includes(service)) return ServingStatus.SERVICE_UNKNOWN;
    return servables.isReady(service) ? ServingStatus.SERVING : ServingStatus.NOT_SERVING;
  };

  addUnary(methods, Health.method.check, context, ({ service }) => {
    const found = statusOf(service);
    if (found === ServingStatus.SERVICE_UNKNOWN) throw new NearfarError('not-found', `no such service: ${service}`);
    return create(HealthCheckResponseSchema, { status: found });
  });

  const { watch } = Health.method;
  server.register<MessageShape<typeof watch.input>, MessageShape<typeof watch.output>>(
    `/${Health.typeName}/${watch.name}`,
    (call: ServerWritableStream<MessageShape<typeof watch.input>, MessageShape<typeof watch.output>>) => {
      let told: ServingStatus | undefined;
      const tell = () => {
        const found = statusOf(call.request.service);
        if (found === told) return;
        told = found;
        call.write(create(HealthCheckResponseSchema, { status: found }));
      };
      const watching = servables.watch(tell);
      streams.add(call, () => watching[Symbol.dispose]());
      tell();
    },
    (message) => Buffer.from(toBinary(watch.output, message)),
    (bytes) => fromBinary(watch.input, bytes),
    'serverStream',
  );
}

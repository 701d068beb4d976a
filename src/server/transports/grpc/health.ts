import { create } from '@bufbuild/protobuf';
import type { Server } from '@grpc/grpc-js';
import {
  Health,
  HealthCheckResponseSchema,
  NearfarError,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from '../../../core/index.ts';
import type { GrpcContext } from '../context.ts';
import { addUnary } from './unary.ts';

/** Services by their full names, and by the bare ones that TensorFlow Serving uses here. */
const services: ReadonlySet<string> = new Set([
  '',
  'ModelService',
  'PredictionService',
  'tensorflow.serving.ModelService',
  'tensorflow.serving.PredictionService',
  'inference.GRPCInferenceService',
]);

/** grpc.health.v1: unlike TensorFlow Serving's it says whether the models can answer. */
export function addHealth(server: Server, { servables, log }: GrpcContext): void {
  addUnary(server, Health.method.check, log, ({ service }) => {
    if (!services.has(service)) throw new NearfarError('not-found', `no such service: ${service}`);
    return create(HealthCheckResponseSchema, { status: servables.isReady() ? ServingStatus.SERVING : ServingStatus.NOT_SERVING });
  });
}

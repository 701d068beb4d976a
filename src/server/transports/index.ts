export type {
  GrpcContext,
  MetricsPage,
  RequestMetrics,
  RestContext,
  SiteOptions,
  Transport,
  TransportContext,
  TransportLog,
} from './context.ts';
export { createGrpcServer } from './grpc/server.ts';
export { createRestServer } from './rest/server.ts';

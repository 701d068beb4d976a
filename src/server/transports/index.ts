export type { AdminContext } from './admin.ts';
export { createClassLabels } from './class-labels.ts';
export type { RestContext, SiteOptions, Transport } from './context.ts';
export { createGrpcServer } from './grpc/index.ts';
export { createRestServer, describeModels } from './rest/index.ts';
export { createSharedPort } from './shared-port.ts';

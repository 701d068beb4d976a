export { createGrpcServer } from './server.ts';

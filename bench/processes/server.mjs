// A nearfar server in a process of its own, on free ports.
import { startServer } from '../../dist/server/index.js';
import { answerParent, usage } from './load.mjs';

const server = await startServer({
  host: '127.0.0.1',
  restPort: 0,
  grpcPort: 0,
  corsAllowedOrigins: ['*'],
  logLevel: 'error',
  ...JSON.parse(process.argv[2] ?? '{}'),
});
await server.whenReady();
process.once('SIGTERM', () => void server.close().then(() => process.exit()));
answerParent(async (question) => usage(question), { rest: server.restAddress, grpc: server.grpcAddress });

export { describeModels } from './models.ts';
export { createRestServer } from './server.ts';

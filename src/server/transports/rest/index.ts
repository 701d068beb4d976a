export { createRestServer } from './server.ts';

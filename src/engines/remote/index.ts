export type { RemoteOptions } from './ask-server.ts';
export { openRemoteEngine, type RemoteEngineOptions } from './engine.ts';
export { classifyOnServer, isReadyOnServer, predictOnServer } from './server-leg.ts';

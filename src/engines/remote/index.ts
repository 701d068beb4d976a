export { loadBalance } from './ask-server.ts';
export { openRemoteEngine } from './engine.ts';
export { classifyOnServer, isReadyOnServer, predictOnServer, runTaskOnServer } from './server-leg.ts';

export { type Balance, createBalance } from './balance.ts';
export { openRemoteEngine } from './engine.ts';
export { classifyOnServer, isReadyOnServer, predictOnServer } from './server-leg.ts';

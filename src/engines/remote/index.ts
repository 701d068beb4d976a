export { loadBalance } from './ask-server.ts';
export { openRemoteEngine } from './engine.ts';
export { classifyOnServer, isReadyOnServer, predictOnServer } from './server-leg.ts';

export const loadTasks = (): Promise<typeof import('./run-task.ts')> => import('./run-task.ts');

export { resolveLogging } from './logging-config.ts';
export { RequestLog } from './request-log.ts';

export { resolveLogging } from './logging-config.ts';
export { RequestLog, type SampledRequest } from './request-log.ts';

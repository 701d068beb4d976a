import { type Logger, pino } from 'pino';

export type { Logger } from 'pino';

export const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

/**
 * The server's structured log: one JSON object per line on standard error, so that standard output stays free for what the
 * command itself prints. Payloads of requests are never logged: callers pass names, codes, counts and times only.
 */
export function createLog(level: LogLevel): Logger {
  return pino({ name: 'nearfar', level, timestamp: pino.stdTimeFunctions.isoTime }, pino.destination({ fd: 2, sync: true }));
}

import { errorStatuses, NearfarError, serializeError } from '../../../core/index.ts';
import { challengeOf } from '../../security/index.ts';
import type { TransportLog } from '../context.ts';
import { retryAfterMs } from '../retry-after.ts';
import type { CallTrailer, UnaryError } from './unary.ts';

/** TensorFlow Serving cuts messages here, as they travel in HTTP/2 headers. */
const maxMessageLength = 1024;

/** An error as a gRPC status; our code goes behind it under `nearfar-error-code`. */
export function toServiceError(error: unknown, trailer: CallTrailer, log: TransportLog): UnaryError {
  // What is no NearfarError is our mistake: its text is for the log, not for strangers.
  if (!(error instanceof NearfarError)) log.error({ err: error }, 'a request failed unexpectedly');
  const { code, message } =
    error instanceof NearfarError ? serializeError(error) : { code: 'internal' as const, message: 'internal error' };
  trailer.set('nearfar-error-code', code);
  const retryMs = retryAfterMs(error);
  if (retryMs !== undefined) {
    trailer.set('retry-after', String(Math.ceil(retryMs / 1000)));
    // What gRPC's own clients wait for before a retry, where their service config has a retry policy (proposal A6).
    trailer.set('grpc-retry-pushback-ms', String(retryMs));
  }
  const challenge = challengeOf(error);
  if (challenge !== undefined) trailer.set('www-authenticate', challenge);
  const cut = message.length > maxMessageLength ? `${message.slice(0, maxMessageLength)}...TRUNCATED` : message;
  // Half a surrogate pair, such as a cut leaves, cannot be sent: here it becomes U+FFFD.
  const details = Buffer.from(cut).toString();
  return { code: errorStatuses[code].grpc, details };
}

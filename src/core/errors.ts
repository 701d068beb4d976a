const statuses = {
  'invalid-argument': { http: 400, grpc: 3 },
  'dtype-mismatch': { http: 400, grpc: 3 },
  'shape-mismatch': { http: 400, grpc: 3 },
  'not-found': { http: 404, grpc: 5 },
  'already-exists': { http: 409, grpc: 6 },
  'version-mismatch': { http: 409, grpc: 9 },
  'integrity-mismatch': { http: 500, grpc: 15 },
  'signature-invalid': { http: 500, grpc: 15 },
  unsupported: { http: 501, grpc: 12 },
  'self-test-failed': { http: 500, grpc: 13 },
  'device-unfit': { http: 503, grpc: 14 },
  'device-lost': { http: 503, grpc: 14 },
  'device-crashed': { http: 503, grpc: 14 },
  'out-of-memory': { http: 503, grpc: 14 },
  'quota-exceeded': { http: 507, grpc: 8 },
  'download-deferred': { http: 503, grpc: 14 },
  network: { http: 503, grpc: 14 },
  unavailable: { http: 503, grpc: 14 },
  // A full batch queue is UNAVAILABLE in TensorFlow Serving, not RESOURCE_EXHAUSTED.
  overloaded: { http: 503, grpc: 14 },
  'rate-limited': { http: 429, grpc: 8 },
  'deadline-exceeded': { http: 504, grpc: 4 },
  cancelled: { http: 499, grpc: 1 },
  unauthenticated: { http: 401, grpc: 16 },
  'permission-denied': { http: 403, grpc: 7 },
  // TensorFlow Serving answers FAILED_PRECONDITION with HTTP 400.
  'failed-precondition': { http: 400, grpc: 9 },
  internal: { http: 500, grpc: 13 },
} as const;

/** The closed set of error codes. Callers branch on the code, never on the text. */
export type NearfarErrorCode = keyof typeof statuses;

/** Every code with its HTTP status and its gRPC status number. */
export const errorStatuses: Readonly<Record<NearfarErrorCode, { readonly http: number; readonly grpc: number }>> = statuses;

/** Plain, cloneable data that goes with an error. */
export type ErrorDetails = Readonly<Record<string, unknown>>;

/** An error as it crosses a worker boundary or the wire. */
export interface SerializedError {
  readonly code: NearfarErrorCode;
  readonly message: string;
  readonly details?: ErrorDetails;
}

/** The one error class of nearfar. */
export class NearfarError extends Error {
  override readonly name = 'NearfarError';
  readonly code: NearfarErrorCode;
  readonly details: ErrorDetails;

  constructor(code: NearfarErrorCode, message: string, options: { cause?: unknown; details?: ErrorDetails } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options.details ?? {};
  }
}

export function isNearfarErrorCode(value: unknown): value is NearfarErrorCode {
  return typeof value === 'string' && Object.hasOwn(statuses, value);
}

/** Code, message and details of any thrown value; a value that is no NearfarError becomes `internal`. */
export function serializeError(error: unknown): SerializedError {
  if (error instanceof NearfarError) return { code: error.code, message: error.message, details: error.details };
  return { code: 'internal', message: error instanceof Error ? error.message : String(error) };
}

export function isSerializedError(value: unknown): value is SerializedError {
  return typeof value === 'object' && value !== null && 'code' in value && isNearfarErrorCode(value.code) && 'message' in value;
}

/** The inverse of {@link serializeError}. */
export function deserializeError(error: SerializedError): NearfarError {
  return new NearfarError(error.code, error.message, error.details ? { details: error.details } : {});
}

import { errorStatuses, type NearfarErrorCode } from '../errors.ts';

/** The canonical status names by their gRPC numbers. */
const names = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
] as const;

export type GrpcStatusName = (typeof names)[number];

/** `INVALID_ARGUMENT` for 3; `UNKNOWN` for a number that has no name. */
export function grpcStatusNameOf(status: number): GrpcStatusName {
  return names[status] ?? 'UNKNOWN';
}

/** The canonical status name of an error code. */
export function grpcStatusName(code: NearfarErrorCode): GrpcStatusName {
  return grpcStatusNameOf(errorStatuses[code].grpc);
}

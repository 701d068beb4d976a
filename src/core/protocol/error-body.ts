import { errorStatuses, isNearfarErrorCode, NearfarError, type NearfarErrorCode } from '../errors.ts';

/**
 * The error behind an HTTP answer that is no success: nearfar's own body `{error, code, details}`, or one of another
 * server by its status alone.
 * @param body The text of the answer's body.
 */
export function errorOfResponse(status: number, body: string): NearfarError {
  const { error, code, details } = parseBody(body);
  const message = typeof error === 'string' ? error : `the server answered ${status}`;
  const plainDetails = typeof details === 'object' && details !== null ? { ...details } : {};
  return new NearfarError(isNearfarErrorCode(code) ? code : codeOfStatus(status), message, {
    details: { ...plainDetails, httpStatus: status },
  });
}

function parseBody(body: string): { readonly error?: unknown; readonly code?: unknown; readonly details?: unknown } {
  try {
    const json: unknown = JSON.parse(body);
    return typeof json === 'object' && json !== null ? json : {};
  } catch {
    return {};
  }
}

/** Where several codes share a status, the one that says least. */
function codeOfStatus(status: number): NearfarErrorCode {
  const general: Readonly<Record<number, NearfarErrorCode>> = { 400: 'invalid-argument', 500: 'internal', 503: 'unavailable' };
  const known = (Object.keys(errorStatuses) as NearfarErrorCode[]).find((code) => errorStatuses[code].http === status);
  return general[status] ?? known ?? (status >= 500 ? 'unavailable' : 'invalid-argument');
}

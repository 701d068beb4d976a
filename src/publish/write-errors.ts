import { NearfarError, type NearfarErrorCode } from '../core/index.ts';

const codes: Readonly<Record<string, NearfarErrorCode>> = {
  EACCES: 'permission-denied',
  EPERM: 'permission-denied',
  EROFS: 'permission-denied',
  ENOSPC: 'quota-exceeded',
  EDQUOT: 'quota-exceeded',
  ENOENT: 'not-found',
  ENOTDIR: 'invalid-argument',
  EISDIR: 'invalid-argument',
};

/**
 * Does work that writes at a path; what the file system refuses becomes a typed error that names the path.
 * @throws {NearfarError} `permission-denied`, `quota-exceeded`, `invalid-argument` for a path through a file, `not-found`; what `work` throws.
 */
export async function writing<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const errno = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    const code = codes[errno];
    if (cause instanceof NearfarError || !code) throw cause;
    throw new NearfarError(code, `cannot write ${path}: ${cause instanceof Error ? cause.message : errno}`, {
      cause,
      details: { path, errno },
    });
  }
}

import { NearfarError } from '../../errors.ts';

/** The error of a file that is not what it should be; one that is typed already stays as it is. */
export function damaged(what: string, cause?: unknown): NearfarError {
  if (cause instanceof NearfarError) return cause;
  return new NearfarError('invalid-argument', `not a TensorFlow model: ${what}`, { cause, details: { format: 'tensorflow' } });
}

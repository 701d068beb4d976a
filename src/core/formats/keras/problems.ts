import { NearfarError } from '../../errors.ts';

export function damaged(message: string, cause?: unknown): NearfarError {
  return new NearfarError('invalid-argument', `not a sound Keras model: ${message}`, { cause, details: { format: 'keras' } });
}

export function unsupported(message: string): NearfarError {
  return new NearfarError('unsupported', message, { details: { format: 'keras' } });
}

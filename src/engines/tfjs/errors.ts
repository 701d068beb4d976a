import { type BackendId, NearfarError } from '../../core/index.ts';
import { messageOf } from '../gpu.ts';

/** A typed error for what TensorFlow.js throws; typed errors pass through. */
export function translateTfjsError(error: unknown, backend: BackendId): NearfarError {
  if (error instanceof NearfarError) return error;
  const message = messageOf(error);
  const options = { cause: error, details: { backend } };
  if (/out of memory|allocation failed|memory access out of bounds|could not allocate|Cannot enlarge memory/i.test(message)) {
    return new NearfarError('out-of-memory', `${backend} has not enough memory: ${message}`, options);
  }
  if (/Kernel '.*' not registered for backend|Unknown op '|is not supported|not yet (implemented|supported)/i.test(message)) {
    return new NearfarError('unsupported', `${backend} cannot run the model: ${message}`, options);
  }
  // Of an operator that was given an index beyond its tensor.
  if (/does not index into|index value .* is not in|would overflow input|out of range element/i.test(message))
    return new NearfarError('invalid-argument', message, options);
  return new NearfarError('internal', `${backend} failed: ${message}`, options);
}

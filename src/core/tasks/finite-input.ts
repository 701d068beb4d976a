import { NearfarError } from '../errors.ts';

/**
 * Asserts that every number of a task's input, however deep, is finite: the JSON that goes to a server has no others, and both legs take the same.
 * @throws {NearfarError} `invalid-argument` with the path of the first that is not.
 */
export function assertFiniteInput(input: unknown, path: readonly string[] = []): void {
  if (typeof input === 'number' && !Number.isFinite(input)) {
    const at = path.join('.') || 'the input';
    throw new NearfarError('invalid-argument', `${at} is ${input}, expected a finite number`, { details: { path, got: String(input) } });
  }
  if (input instanceof Float32Array || input instanceof Float64Array) {
    const at = input.findIndex((sample) => !Number.isFinite(sample));
    if (at >= 0) assertFiniteInput(input[at], [...path, String(at)]);
  } else if (typeof input === 'object' && input !== null && !ArrayBuffer.isView(input)) {
    for (const [key, value] of Object.entries(input)) assertFiniteInput(value, [...path, key]);
  }
}

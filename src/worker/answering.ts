import { serializeError } from '../core/index.ts';

/** A method as the main thread calls it: what it throws crosses as the plain data of a NearfarError. */
export function answering<Args extends unknown[], Result>(
  method: (...args: Args) => Result | Promise<Result>,
): (...args: Args) => Promise<Result> {
  return async (...args) => {
    try {
      return await method(...args);
    } catch (error) {
      throw serializeError(error);
    }
  };
}

import type { TensorMap } from '../../../core/index.ts';
import { type JsonJobKind, type JsonJobs, jsonJobs } from '../../json/index.ts';
import type { RestContext } from '../context.ts';

/** Decoding or encoding more holds up the event loop for half a millisecond and longer; for less a worker is not worth the way. */
export const largeJsonBytes = 64 * 2 ** 10;

/** The fewest bytes of text that a value of a list takes on average, with what separates it: `0.5, `. */
const leastBytesPerValue = 5;

type Decoding = Extract<JsonJobKind, `decode${string}`>;

/**
 * Decodes a request here, or in the worker where that would hold up the event loop.
 * @param jsonBytes How much of the body is JSON. A larger one is moved to the worker, and empty here afterwards.
 */
export function decodeJsonBody<K extends Decoding>(
  { runJsonJob }: Pick<RestContext, 'runJsonJob'>,
  kind: K,
  request: JsonJobs[K]['request'],
  { jsonBytes, ending }: { readonly jsonBytes: number; readonly ending: { readonly signal: AbortSignal } },
): JsonJobs[K]['answer'] | Promise<JsonJobs[K]['answer']> {
  return jsonBytes > largeJsonBytes ? runJsonJob(kind, request, ending) : jsonJobs[kind](request);
}

/** Whether tensors, those that are JSON at all, become so much of it that it is better encoded in the worker. */
export function isLargeAsJson(tensors: TensorMap, isJson: (name: string) => boolean = () => true): boolean {
  let bytes = 0;
  for (const [name, { dtype, data }] of Object.entries(tensors)) {
    if (!isJson(name)) continue;
    bytes += dtype === 'string' ? data.reduce((sum, { length }) => sum + length, 0) : data.length * leastBytesPerValue;
  }
  return bytes > largeJsonBytes;
}

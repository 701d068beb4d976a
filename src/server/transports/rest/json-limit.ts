import { errorCodes } from 'fastify';
import type { RestContext } from '../context.ts';

/**
 * Reading JSON takes a thread for long and many times its memory: 120 MB took 4 to 5 s and 1.9 GB. Bytes of tensors and pictures cost
 * neither, so they may be larger.
 */
const defaultJsonLimitBytes = 32 * 2 ** 20;

/** The largest JSON that a request may bring, inflated, in bytes. */
export function jsonLimitOf({ jsonLimitBytes = defaultJsonLimitBytes, bodyLimitBytes = jsonLimitBytes }: RestContext): number {
  return Math.min(jsonLimitBytes, bodyLimitBytes);
}

/** @throws what fastify throws for a body over its limit (413). */
export function assertJsonSize(context: RestContext, bytes: number): void {
  if (bytes > jsonLimitOf(context)) throw new errorCodes.FST_ERR_CTP_BODY_TOO_LARGE();
}

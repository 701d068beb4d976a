import cors from '@fastify/cors';
import type { FastifyInstance } from 'fastify';
import { exposedHeaders } from './headers.ts';

/** Chromium keeps a preflight for two hours at most, Firefox for a day. */
const preflightSeconds = 86_400;

/** Those of an answer to a request that names no origin, outside of `/models`, as the plugin below sends them. */
export function corsHeaders(allowedOrigins: readonly string[]): Readonly<Record<string, string>> {
  return {
    vary: 'Origin',
    ...(allowedOrigins.includes('*') && { 'access-control-allow-origin': '*' }),
    ...(allowedOrigins.length > 0 && { 'access-control-expose-headers': exposedHeaders.join(', ') }),
  };
}

/**
 * CORS: `/models` is open to every origin, all else to the configured ones. Asked-for headers are all allowed, so that tokens
 * and trace ids of other people's clients pass, which TensorFlow Serving's own flag does not let through.
 */
export async function addCors(app: FastifyInstance, allowedOrigins: readonly string[]): Promise<void> {
  const isAny = allowedOrigins.includes('*');
  const shared = {
    methods: ['GET', 'HEAD', 'POST'],
    exposedHeaders,
    maxAge: preflightSeconds,
    optionsSuccessStatus: 200,
    // TensorFlow Serving asks for no Access-Control-Request-Method.
    strictPreflight: false,
  };
  await app.register(cors, {
    delegator: (request, callback) => {
      const isOpen = isAny || request.raw.url?.startsWith('/models/') === true;
      const origin = isOpen ? '*' : allowedOrigins.length > 0 ? [...allowedOrigins] : false;
      callback(null, { ...shared, origin, preflight: request.headers.origin !== undefined });
    },
  });
}

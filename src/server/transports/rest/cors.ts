import cors from '@fastify/cors';
import type { FastifyInstance } from 'fastify';
import type { RestContext } from '../context.ts';
import { exposedHeaders } from './headers.ts';

/** Chromium keeps a preflight for two hours at most, Firefox for a day. */
const preflightSeconds = 86_400;

/** Pages of named origins may send credentials, which say what else they may. */
const changingMethods = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE'];

/**
 * CORS: `/models` is open to every origin, all else to the configured ones. Asked-for headers are all allowed, so that tokens
 * and trace ids of other people's clients pass, which TensorFlow Serving's own flag does not let through. A POST that names no origin comes
 * from no page, and its answer lies in no cache: it is not told what pages may do. Credentials are for named origins alone.
 */
export async function addCors(
  app: FastifyInstance,
  { corsAllowedOrigins: allowedOrigins, guard }: Pick<RestContext, 'corsAllowedOrigins' | 'guard'>,
): Promise<void> {
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
      const isOfPage = request.headers.origin !== undefined;
      const isOpen = isAny || request.raw.url?.startsWith('/models/') === true;
      const origin = isOpen ? '*' : allowedOrigins.length > 0 ? [...allowedOrigins] : false;
      const named = guard && !isOpen && !isAny ? { credentials: true, methods: changingMethods } : {};
      callback(null, { ...shared, ...named, origin: isOfPage || request.method !== 'POST' ? origin : false, preflight: isOfPage });
    },
  });
}

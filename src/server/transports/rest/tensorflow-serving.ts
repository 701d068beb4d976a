import type { FastifyInstance } from 'fastify';
import { NearfarError } from '../../../core/index.ts';
import type { ServableSpec } from '../../servables/index.ts';
import type { RestContext } from '../context.ts';
import { canonicalVersion, decodePathPart } from '../model-spec.ts';
import { classify } from './classify.ts';
import { jsonLimitOf } from './json-limit.ts';
import { metadata } from './metadata.ts';
import { predict } from './predict.ts';
import { regress } from './regress.ts';
import { observeRest } from './rest-call.ts';
import { status } from './status.ts';

// The patterns of TensorFlow Serving (http_rest_api_util.cc): one path holds name, version and method, so its rules are
// told apart here rather than by the router.
const predictionPath = /^\/v1\/models\/([^/:]+)(?:\/versions\/(\d+)|\/labels\/([^/:]+))?:(classify|regress|predict)$/i;
const modelPath = /^\/v1\/models(?:\/([^/:]+))?(?:\/versions\/(\d+)|\/labels\/([^/:]+))?(?:\/(metadata))?$/i;

/** By the names that {@link predictionPath} knows. */
const methods = { classify, regress, predict };

/** TensorFlow Serving's REST API under `/v1/`. */
export function addTensorFlowServing(app: FastifyInstance, context: RestContext): void {
  app.all('/v1/*', { bodyLimit: jsonLimitOf(context) }, async (request, reply) => {
    const method = request.method === 'HEAD' ? 'GET' : request.method;
    const path = request.raw.url?.split('?', 1)[0] ?? '';
    // Theirs says 200 to any page that asks, and leaves it to the headers (see cors.ts) whether that page may.
    if (method === 'OPTIONS' && /https?:\/\//.test(request.headers.origin ?? '')) return reply.send();
    const match = method === 'POST' ? predictionPath.exec(path) : method === 'GET' ? modelPath.exec(path) : null;
    if (!match) throw new NearfarError('invalid-argument', `Malformed request: ${method} ${path}`);
    const [, name = '', version, label, action = ''] = match;
    const spec: ServableSpec = {
      name: decodePathPart('model name', name),
      version: version === undefined ? undefined : canonicalVersion(version),
      label: label === undefined ? undefined : decodePathPart('model version label', label),
    };
    if (method === 'POST') {
      await methods[action.toLowerCase() as keyof typeof methods](context, request, reply, spec);
    } else if (action === '') {
      await observeRest(context, request, { model: spec.name, api: 'status' }, () => status(context, reply, spec));
    } else {
      if (spec.name === '') throw new NearfarError('invalid-argument', 'Missing model name in request.');
      await observeRest(context, request, { model: spec.name, api: 'metadata' }, () => metadata(context, request, reply, spec));
    }
    return reply;
  });
}

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { NearfarError, readJson, toPlain } from '../../../core/index.ts';
import type { Actor } from '../../history/index.ts';
import type { ServableHandle, ServableSpec } from '../../servables/index.ts';
import { actorOf } from '../admin.ts';
import type { RestContext } from '../context.ts';
import { inferenceExtensions, inferenceModelMetadata } from '../inference-metadata.ts';
import { modelConfig } from '../model-config.ts';
import { versionOrLabel } from '../model-spec.ts';
import { modelStatistics } from '../model-statistics.ts';
import { parseLoadParameters } from '../repository-control.ts';
import { repositoryIndex } from '../repository-index.ts';
import { addTensorBodies } from './bodies.ts';
import { callerOf, setVersionHeaders, wantedDigest } from './headers.ts';
import { infer } from './infer.ts';
import { jsonLimitOf } from './json-limit.ts';
import { bodyBytes, observeRest } from './rest-call.ts';
import { sendJson } from './send-json.ts';

const repositoryPaths = ['/v2/repository', '/v2/repository/:repository'];
const modelPaths = ['/v2/models/:model', '/v2/models/:model/versions/:version'];

interface PathParts {
  readonly model?: string;
  readonly version?: string;
}

type Answer = (request: FastifyRequest, reply: FastifyReply) => object | Promise<object>;

/** The Open Inference Protocol (KServe v2) under `/v2`, with Triton's extensions. */
export function addOpenInference(app: FastifyInstance, context: RestContext): void {
  const { servables, serverVersion } = context;
  const get = (url: string, answer: Answer) => addRoute(app, 'GET', url, answer);
  const post = (url: string, answer: Answer) => addRoute(app, 'POST', url, answer, jsonLimitOf(context));
  /** An answer about a model that is counted, and what it asks. */
  const observed = (api: string, answer: Answer): Answer => {
    return (request, reply) => observeRest(context, request, { model: partsOf(request).model ?? '', api }, () => answer(request, reply));
  };
  /** An answer about a version that can answer; a pinned digest must be the very version's. */
  const about = (api: string, describe: (handle: ServableHandle) => object): Answer =>
    observed(api, (request, reply) => {
      using handle = servables.lend({ ...specOf(request), digest: wantedDigest(request) });
      setVersionHeaders(reply, handle);
      return describe(handle);
    });

  get('/v2', () => ({ name: 'nearfar', version: serverVersion, extensions: inferenceExtensions }));
  get('/v2/health/live', () => ({ live: true }));
  get('/v2/health/ready', (_, reply) => {
    const isReady = servables.isReady();
    reply.code(isReady ? 200 : 503);
    // The protocol's text calls it `live`, its OpenAPI description `ready`; Triton looks at the status alone.
    return { live: isReady, ready: isReady };
  });
  get(
    '/v2/models/stats',
    observed('statistics', () => modelStatistics(context, '', '')),
  );
  for (const path of modelPaths) {
    get(
      path,
      about('metadata', (handle) => inferenceModelMetadata(servables, handle)),
    );
    // A version that cannot be lent is not ready, and the error says why.
    get(
      `${path}/ready`,
      about('ready', ({ name }) => ({ name, ready: true })),
    );
    get(`${path}/config`, about('config', modelConfig));
    get(
      `${path}/stats`,
      observed('statistics', (request) => modelStatistics(context, partsOf(request).model ?? '', partsOf(request).version ?? '')),
    );
  }
  // All models lie in one repository; that of a path may have any name.
  for (const path of repositoryPaths) {
    post(
      `${path}/index`,
      observed('index', (request) => repositoryIndex(servables, readJsonObject(request)['ready'] === true)),
    );
  }
  app.register(async (routes) => addModelControl(routes, context, observed));
  app.register(async (routes) => {
    addTensorBodies(routes, context);
    for (const path of modelPaths) {
      routes.post(`${path}/infer`, async (request, reply) => {
        await infer(context, request, reply, specOf(request));
        return reply;
      });
    }
  });
}

/** Loading and unloading, for those who may change what is served. */
function addModelControl(app: FastifyInstance, context: RestContext, observed: (api: string, answer: Answer) => Answer): void {
  const { admin } = context;
  type Make = (model: string, parameters: Readonly<Record<string, unknown>>, options: { readonly by: Actor }) => Promise<void>;
  const post = (url: string, change: Make, api: string) =>
    addRoute(
      app,
      'POST',
      url,
      observed(api, async (request) => {
        await change(partsOf(request).model ?? '', readParameters(request), { by: actorOf(callerOf(request), 'REST') });
        return {};
      }),
      jsonLimitOf(context),
    );
  for (const path of repositoryPaths) {
    post(`${path}/models/:model/load`, (model, parameters, by) => admin.onDemand.load(model, parseLoadParameters(parameters), by), 'load');
    // Models do not depend on each other here, so `unload_dependents` asks for nothing more.
    post(`${path}/models/:model/unload`, (model, _, by) => admin.onDemand.unload(model, by), 'unload');
  }
}

function addRoute(app: FastifyInstance, method: 'GET' | 'POST', url: string, answer: Answer, bodyLimit?: number): void {
  app.route({
    method,
    url,
    ...(bodyLimit !== undefined && { bodyLimit }),
    handler: async (request, reply) => {
      sendJson(reply, JSON.stringify(await answer(request, reply)));
      return reply;
    },
  });
}

function partsOf({ params }: FastifyRequest): PathParts {
  return params as PathParts; // the routes above declare them
}

function specOf(request: FastifyRequest): ServableSpec {
  const { model = '', version = '' } = partsOf(request);
  return { name: model, ...versionOrLabel(version) };
}

/** The JSON object of a body; none is an empty one. */
function readJsonObject(request: FastifyRequest): Readonly<Record<string, unknown>> {
  const bytes = bodyBytes(request);
  if (bytes.length === 0) return {};
  const document = readJson(bytes);
  if (document.kind(0) !== 'object') throw new NearfarError('invalid-argument', 'the body is not a JSON object');
  return toPlain(document, 0) as Readonly<Record<string, unknown>>; // an object by the check above
}

function readParameters(request: FastifyRequest): Readonly<Record<string, unknown>> {
  const { parameters = {} } = readJsonObject(request);
  if (typeof parameters === 'object' && parameters !== null && !Array.isArray(parameters)) return { ...parameters };
  throw new NearfarError('invalid-argument', "'parameters' is not a JSON object");
}

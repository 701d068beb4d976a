import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { type FastifyReply, fastify } from 'fastify';
import { NearfarError } from '../../../core/index.ts';
import { defaultLameDuckMs, type RestContext, type Transport } from '../context.ts';
import { tlsOptions } from '../tls-options.ts';
import { defaultBodyLimitBytes } from './bodies.ts';
import { addClientReports } from './client-reports.ts';
import { addCors } from './cors.ts';
import { answerDirectly } from './direct.ts';
import { addProtocolErrors, answerBrokenRequest, sendError } from './errors.ts';
import { prepareGracefulClose } from './graceful-close.ts';
import { addGuard } from './guard.ts';
import { addHealth } from './health.ts';
import { addHistory } from './history.ts';
import { addImageClassification } from './image-classification.ts';
import { addInflate } from './inflate.ts';
import { addInsights } from './insights.ts';
import { addManagementPage } from './management-page.ts';
import { addModelAdmin } from './model-admin.ts';
import { addModels } from './models.ts';
import { addOpenInference } from './open-inference.ts';
import { addOpenApi } from './openapi.ts';
import { watchMethods } from './other-methods.ts';
import { addQuality } from './quality.ts';
import { addRefresh } from './refresh.ts';
import { addRepository } from './repository.ts';
import { addRollouts } from './rollouts.ts';
import { addSessions } from './sessions.ts';
import { addSite } from './site.ts';
import { addTasks } from './tasks.ts';
import { addTensorFlowServing } from './tensorflow-serving.ts';
import { addUploads } from './uploads.ts';

const defaultRequestTimeoutMs = 300_000;

/** Headers are small: whoever needs longer only holds a connection. */
const headersTimeoutMs = 60_000;

/** A connection that is kept open between two requests, as fastify has it. */
const keepAliveTimeoutMs = 72_000;

/** The largest delay of a timer in Node. */
const maxDelayMs = 2 ** 31 - 1;

/** Node's own defaults let a client be silent, or not read, for ever. */
function createHttpServer(handler: RequestListener, { tls, timeoutMs, requestTimeoutMs = defaultRequestTimeoutMs }: RestContext): Server {
  const limits = {
    requestTimeout: requestTimeoutMs,
    headersTimeout: Math.min(headersTimeoutMs, requestTimeoutMs),
    keepAliveTimeout: keepAliveTimeoutMs,
    // Node looks for requests that are late every 30 s, too seldom for a shorter limit.
    connectionsCheckingInterval: Math.min(30_000, requestTimeoutMs),
    // Ours says so in JSON.
    requireHostHeader: false,
  };
  const server = tls
    ? createSecureServer({ ...limits, ...tlsOptions(tls), handshakeTimeout: Math.min(headersTimeoutMs, requestTimeoutMs) }, handler)
    : createServer(limits, handler);
  // Silence on a connection. A prediction may take its whole deadline, in which no byte goes either way.
  return server.setTimeout(Math.min(timeoutMs + requestTimeoutMs, maxDelayMs));
}

/**
 * The HTTP side of the server: TensorFlow Serving's REST API, the Open Inference Protocol, the repository for browsers, our
 * own API, health, metrics and static pages.
 */
export function createRestServer(context: RestContext): Transport {
  const app = fastify({
    logger: false,
    return503OnClosing: false,
    bodyLimit: context.bodyLimitBytes ?? defaultBodyLimitBytes,
    serverFactory: (handler) =>
      createHttpServer(
        answerDirectly(context, () => graceful.isDraining(), handler),
        context,
      ),
    clientErrorHandler: answerBrokenRequest,
    // Paths that the router cannot read, such as /models/%zz.
    frameworkErrors: (error, _, reply: FastifyReply) => sendError(reply, error, context.log),
    routerOptions: { caseSensitive: true, ignoreTrailingSlash: false, maxParamLength: 2048 },
    // TensorFlow Serving matches its paths in any case; names of models keep theirs.
    rewriteUrl: ({ url = '/' }) => url.replace(/^\/v1\//i, '/v1/'),
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_, body, done) => done(null, body));
  app.setErrorHandler((error, _, reply) => sendError(reply, error, context.log));
  app.setNotFoundHandler((request, reply) =>
    sendError(reply, new NearfarError('not-found', `no such path: ${request.method} ${request.raw.url?.split('?', 1)[0]}`), context.log),
  );
  const { lameDuckMs = defaultLameDuckMs } = context;
  const graceful = prepareGracefulClose(app, { lameDuckMs, refuseMore: () => context.admission.startDraining() });
  addProtocolErrors(app);
  addInflate(app);
  app.register(async (routes) => {
    addGuard(routes, context);
    const refuseOtherMethods = watchMethods(routes);
    await addCors(routes, context);
    addTensorFlowServing(routes, context);
    addOpenInference(routes, context);
    addRepository(routes, context);
    addModels(routes, context);
    addModelAdmin(routes, context);
    addRefresh(routes, context);
    addHistory(routes, context);
    addUploads(routes, context);
    addInsights(routes, context);
    addQuality(routes, context);
    addRollouts(routes, context);
    addOpenApi(routes, context);
    addImageClassification(routes, context);
    addTasks(routes, context);
    addClientReports(routes, context);
    addSessions(routes, context);
    addHealth(routes, context);
    addManagementPage(routes);
    if (context.site) addSite(routes, context.site);
    // Behind those that add theirs later.
    routes.register(async () => refuseOtherMethods());
  });
  return {
    listen: async ({ host, port }) => {
      try {
        await app.listen({ host, port });
      } catch (cause) {
        if (cause instanceof NearfarError) throw cause;
        throw new NearfarError('unavailable', `cannot listen on ${host} port ${port}: ${cause instanceof Error ? cause.message : cause}`, {
          cause,
          details: { transport: 'rest', host, port },
        });
      }
      const address = app.server.address();
      return { port: typeof address === 'object' && address !== null ? address.port : port };
    },
    accept: async () => {
      await app.ready();
      return (socket) => app.server.emit('connection', socket);
    },
    drain: graceful.drain,
    close: graceful.close,
    cut: () => app.server.closeAllConnections(),
  };
}

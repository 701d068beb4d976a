import type { FastifyInstance } from 'fastify';
import type { RestContext } from '../context.ts';
import { inferenceExtensions, inferenceModelMetadata } from '../inference-metadata.ts';
import { versionOrLabel } from '../model-spec.ts';
import { addTensorBodies } from './bodies.ts';
import { setVersionHeaders, wantedDigest } from './headers.ts';
import { infer } from './infer.ts';

const modelPaths = ['/v2/models/:model', '/v2/models/:model/versions/:version'];

interface ModelRoute {
  Params: { readonly model: string; readonly version?: string };
}

/** The Open Inference Protocol (KServe v2) under `/v2`. */
export function addOpenInference(app: FastifyInstance, context: RestContext): void {
  const { servables, serverVersion } = context;
  const specOf = ({ model, version = '' }: ModelRoute['Params']) => ({ name: model, ...versionOrLabel(version) });

  app.get('/v2', async () => ({ name: 'nearfar', version: serverVersion, extensions: inferenceExtensions }));
  app.get('/v2/health/live', async () => ({ live: true }));
  app.get('/v2/health/ready', async (_, reply) => {
    const isReady = servables.isReady();
    return reply.code(isReady ? 200 : 503).send({ ready: isReady });
  });

  for (const path of modelPaths) {
    app.get<ModelRoute>(path, async (request, reply) => {
      using handle = servables.lend({ ...specOf(request.params), digest: wantedDigest(request) });
      setVersionHeaders(reply, handle);
      return inferenceModelMetadata(servables, handle);
    });
    app.get<ModelRoute>(`${path}/ready`, async (request, reply) => {
      // A version that cannot be lent is not ready, and the error says why; a pinned digest must be the very version's.
      using handle = servables.lend({ ...specOf(request.params), digest: wantedDigest(request) });
      setVersionHeaders(reply, handle);
      return { name: handle.name, ready: true };
    });
  }

  app.register(async (routes) => {
    addTensorBodies(routes, context);
    for (const path of modelPaths) {
      routes.post<ModelRoute>(`${path}/infer`, async (request, reply) => {
        await infer(context, request, reply, specOf(request.params));
        return reply;
      });
    }
  });
}

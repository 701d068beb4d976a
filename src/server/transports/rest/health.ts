import type { FastifyInstance } from 'fastify';
import type { RestContext } from '../context.ts';

/** Health for orchestrators and the page for Prometheus, under our name and TensorFlow Serving's. */
export function addHealth(app: FastifyInstance, { servables, metricsPage }: RestContext): void {
  app.get('/healthz', async () => ({ status: 'ok' }));
  app.get('/readyz', async (_, reply) => {
    const isReady = servables.isReady();
    return reply.code(isReady ? 200 : 503).send({ status: isReady ? 'ready' : 'not ready' });
  });
  for (const path of ['/metrics', '/monitoring/prometheus/metrics']) {
    app.get(path, async (_, reply) => reply.type(metricsPage.contentType).send(await metricsPage.metrics()));
  }
}

import type { FastifyInstance } from 'fastify';
import { defaultMetricsPaths } from '../../monitoring-config.ts';
import type { RestContext } from '../context.ts';

/** Health for orchestrators and the page for Prometheus. */
export function addHealth(app: FastifyInstance, { servables, metricsPage, metricsPaths = defaultMetricsPaths }: RestContext): void {
  app.get('/healthz', async () => ({ status: 'ok' }));
  app.get('/readyz', async (_, reply) => {
    const isReady = servables.isReady();
    return reply.code(isReady ? 200 : 503).send({ status: isReady ? 'ready' : 'not ready' });
  });
  for (const path of metricsPaths) {
    app.get(path, { config: { row: 'GET /metrics' } }, async (_, reply) =>
      reply.type(metricsPage.contentType).send(await metricsPage.metrics()),
    );
  }
}

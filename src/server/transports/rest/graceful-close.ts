import type { FastifyInstance } from 'fastify';

/**
 * Closes an HTTP server without failing a request: the answers under way end their connections, and the connections that are
 * left once nothing is in flight (kept alive by clients, opened ahead by browsers) are cut.
 * @remarks Fastify alone answers 503 on kept connections and then waits for clients to let go of them.
 */
export function prepareGracefulClose(app: FastifyInstance): () => Promise<void> {
  let inFlight = 0;
  let isClosing = false;
  const cutIdle = () => {
    if (isClosing && inFlight === 0) app.server.closeAllConnections();
  };
  app.server.on('request', (_, response) => {
    inFlight++;
    response.once('close', () => {
      inFlight--;
      cutIdle();
    });
  });
  app.addHook('onSend', async (_, reply) => {
    if (isClosing) reply.header('connection', 'close');
  });
  return async () => {
    isClosing = true;
    const closed = app.close();
    cutIdle();
    await closed;
  };
}

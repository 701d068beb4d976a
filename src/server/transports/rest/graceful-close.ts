import { setTimeout as pause } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';

/** How long a closing server still takes what clients were sending when it began to close, in milliseconds. */
const lastCallMs = 250;

/**
 * Closes an HTTP server without failing a request: for a moment it goes on and ends each connection with its next answer, then
 * it listens no more, and connections on which nothing is in flight (kept alive by clients, opened ahead by browsers) are cut.
 * @remarks Fastify alone answers 503 on kept connections and then waits for clients to let go of them.
 */
export function prepareGracefulClose(app: FastifyInstance): () => Promise<void> {
  let inFlight = 0;
  let phase: 'open' | 'last-call' | 'closing' = 'open';
  const cutIdle = () => {
    if (phase === 'closing' && inFlight === 0) app.server.closeAllConnections();
  };
  app.server.on('request', (_, response) => {
    inFlight++;
    response.once('close', () => {
      inFlight--;
      cutIdle();
    });
  });
  app.addHook('onSend', async (_, reply) => {
    if (phase !== 'open') reply.header('connection', 'close');
  });
  return async () => {
    phase = 'last-call';
    if (app.server.listening) await pause(lastCallMs);
    phase = 'closing';
    const closed = app.close();
    cutIdle();
    await closed;
  };
}

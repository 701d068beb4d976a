import { setTimeout as pause } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';
import type { Transport } from '../context.ts';

/**
 * Closes an HTTP server without failing a request: for a moment it goes on and ends each connection with its next answer, then it
 * only finishes what it took, and answers what still comes by a refusal; last it listens no more, and connections on which nothing
 * is in flight (kept alive by clients, opened ahead by browsers) are cut.
 * @param options.refuseMore Called when the moment is over: from here on requests are refused.
 * @remarks Fastify alone answers 503 on kept connections and then waits for clients to let go of them.
 */
export function prepareGracefulClose(
  app: FastifyInstance,
  { lameDuckMs, refuseMore }: { readonly lameDuckMs: number; readonly refuseMore: () => void },
): Pick<Transport, 'drain' | 'close'> {
  /** Of those that are finished, however long it takes; one that comes later keeps nobody waiting. */
  let inFlight = 0;
  let phase: 'open' | 'lame-duck' | 'closing' = 'open';
  let onIdle = () => {};
  app.server.on('request', (_, response) => {
    if (phase === 'closing') return;
    inFlight++;
    response.once('close', () => {
      inFlight--;
      if (inFlight === 0) onIdle();
    });
  });
  app.addHook('onSend', async (_, reply) => {
    if (phase !== 'open') reply.header('connection', 'close');
  });
  const startDraining = async () => {
    phase = 'lame-duck';
    if (app.server.listening) await pause(lameDuckMs);
    phase = 'closing';
    refuseMore();
    await new Promise<void>((resolve) => {
      onIdle = resolve;
      if (inFlight === 0) resolve();
    });
  };
  let draining: Promise<void> | undefined;
  const drain = () => {
    draining ??= startDraining();
    return draining;
  };
  return {
    drain,
    close: async () => {
      await drain();
      const closed = app.close();
      app.server.closeAllConnections();
      await closed;
    },
  };
}

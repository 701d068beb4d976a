import type { RestReply } from './exchange.ts';

/** JSON that is encoded already, under TensorFlow Serving's bare content type: fastify would add a charset to a string. */
export function sendJson(reply: RestReply, json: string | Uint8Array): void {
  reply.header('content-type', 'application/json');
  if (typeof json !== 'string') reply.send(json);
  else if (reply.sendText) reply.sendText(json);
  else reply.send(Buffer.from(json));
}

import type { RestReply } from './exchange.ts';

/** JSON that is text already, under TensorFlow Serving's bare content type: fastify would add a charset to a string. */
export function sendJson(reply: RestReply, text: string): void {
  reply.header('content-type', 'application/json');
  reply.send(Buffer.from(text));
}

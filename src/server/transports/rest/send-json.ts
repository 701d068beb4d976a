import type { FastifyReply } from 'fastify';

/** JSON that is text already, under TensorFlow Serving's bare content type: fastify would add a charset to a string. */
export function sendJson(reply: FastifyReply, text: string): void {
  reply.header('content-type', 'application/json').send(Buffer.from(text));
}

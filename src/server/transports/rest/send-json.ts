import type { FastifyReply } from 'fastify';

/** JSON that is encoded already, under TensorFlow Serving's bare content type: fastify would add a charset to a string. */
export function sendJson(reply: FastifyReply, json: string | Uint8Array): void {
  reply.header('content-type', 'application/json').send(typeof json === 'string' ? Buffer.from(json) : json);
}

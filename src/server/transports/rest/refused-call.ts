import type { FastifyRequest } from 'fastify';
import { actorOf, noteRefusal } from '../admin.ts';
import type { RestContext } from '../context.ts';
import { callerOf } from './headers.ts';

/** For the history: a call that may not change anything, or cannot be read. */
export function noteRefusedCall({ admin }: RestContext, request: FastifyRequest, error: unknown): void {
  const { model } = request.params as { readonly model?: string }; // by the router
  const call = `${request.method} ${request.url.split('?', 1)[0]}`;
  noteRefusal(admin, error, { ...actorOf(callerOf(request), 'REST'), call, model });
}

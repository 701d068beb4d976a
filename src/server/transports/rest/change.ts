import type { FastifyRequest } from 'fastify';
import type { ChangeOptions } from '../../served-models.ts';
import { actorOf } from '../admin.ts';
import { CallSignal } from '../call.ts';
import type { RestContext } from '../context.ts';
import { callerOf, deadlineOf } from './headers.ts';
import { observeRest } from './rest-call.ts';

/** Waits for what a change begins as long as any request may take; it goes on when nobody waits. */
export function changeOverRest<T>(
  context: RestContext,
  request: FastifyRequest<{ Params: { readonly model?: string } }>,
  make: (options: ChangeOptions) => Promise<T>,
): Promise<T> {
  return observeRest(context, request, { model: request.params.model ?? '', api: 'configure' }, async () => {
    using deadline = new CallSignal(deadlineOf(request, context.timeoutMs));
    return await make({ signal: deadline.signal, by: actorOf(callerOf(request), 'REST') });
  });
}

import type { FastifyReply, FastifyRequest } from 'fastify';
import { clientOfAddress } from '../../admission.ts';
import type { HttpRoute } from '../../request-record.ts';
import type { ServableSpec } from '../../servables/index.ts';
import { answerCall, type Codec, type DecodedCall, observeControl, openCallSignal } from '../call.ts';
import type { RestContext } from '../context.ts';
import { deadlineOf, headerText, setCacheHeader, setTimingHeader, setVersionHeaders, wantedDigest } from './headers.ts';

/** Answers one prediction over HTTP: its deadline, its client's going away, its headers. */
export async function answerRest<Decoded extends DecodedCall, Answer>(
  context: RestContext,
  request: FastifyRequest,
  reply: FastifyReply,
  call: { readonly spec: ServableSpec; readonly api: string },
  codec: Codec<Decoded, Answer>,
): Promise<Answer> {
  using deadline = openCallSignal(deadlineOf(request, context.timeoutMs));
  const onClose = () => {
    if (!reply.raw.writableFinished) deadline.cancel();
  };
  reply.raw.once('close', onClose);
  try {
    const { answer, timing } = await answerCall(
      context,
      {
        ...call,
        spec: { ...call.spec, digest: wantedDigest(request) },
        entrypoint: 'REST',
        client: clientOfAddress(request.ip),
        signal: deadline.signal,
        limit: deadline.limit,
        onVersion: (version) => setVersionHeaders(reply, version),
        header: (name) => headerText(request, name),
        route: () => routeOf(request),
      },
      codec,
    );
    setTimingHeader(reply, timing);
    setCacheHeader(reply, timing);
    return answer;
  } finally {
    reply.raw.off('close', onClose);
  }
}

/** Answers a question about a model, or changes one, over HTTP. */
export function observeRest<T>(
  context: RestContext,
  request: FastifyRequest,
  call: { readonly model: string; readonly api: string },
  work: () => T | Promise<T>,
): Promise<T> {
  const about = { header: (name: string) => headerText(request, name), route: () => routeOf(request) };
  return observeControl(context, { ...call, ...about, entrypoint: 'REST' }, work);
}

/** Undefined where one route of the router is many paths, as under `/v1/`. */
function routeOf({ method, routeOptions: { url = '*' } }: FastifyRequest): HttpRoute | undefined {
  return url.includes('*') ? undefined : { method, path: url.replace(/:(\w+)/g, '{$1}') };
}

/** The body as bytes; empty where there is none. */
export function bodyBytes(request: FastifyRequest): Uint8Array {
  return request.body instanceof Uint8Array ? request.body : new Uint8Array();
}

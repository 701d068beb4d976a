import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ServableSpec } from '../../servables/index.ts';
import { answerCall, type Codec, openCallSignal, type Runs } from '../call.ts';
import type { RestContext } from '../context.ts';
import { deadlineOf, setTimingHeader, setVersionHeaders, wantedDigest } from './headers.ts';

/** Answers one prediction over HTTP: its deadline, its client's going away, its headers. */
export async function answerRest<Decoded extends Runs, Answer>(
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
        signal: deadline.signal,
        onVersion: (version) => setVersionHeaders(reply, version),
      },
      codec,
    );
    setTimingHeader(reply, timing);
    return answer;
  } finally {
    reply.raw.off('close', onClose);
  }
}

/** The body as bytes; empty where there is none. */
export function bodyBytes(request: FastifyRequest): Uint8Array {
  return request.body instanceof Uint8Array ? request.body : new Uint8Array();
}

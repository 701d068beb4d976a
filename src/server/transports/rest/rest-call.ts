import type { JsonValue } from '@bufbuild/protobuf';
import { clientOfAddress } from '../../admission.ts';
import { parseJsonBody } from '../../json/index.ts';
import { predictionIdName } from '../../quality/index.ts';
import type { HttpRoute } from '../../request-record.ts';
import type { ServableSpec } from '../../servables/index.ts';
import { type Answered, answerCall, CallSignal, type Codec, type DecodedCall, observeControl } from '../call.ts';
import type { RestContext } from '../context.ts';
import type { RestReply, RestRequest } from './exchange.ts';
import { deadlineOf, headerText, setCacheHeader, setTimingHeader, setVersionHeaders, wantedDigest } from './headers.ts';

/** Answers one prediction over HTTP: its deadline, its client's going away, its headers. At once where nothing is to be waited for. */
export function answerRest<Decoded extends DecodedCall, Answer>(
  context: RestContext,
  request: RestRequest,
  reply: RestReply,
  call: { readonly spec: ServableSpec; readonly api: string },
  codec: Codec<Decoded, Answer>,
): Answer | Promise<Answer> {
  const ending = new CallSignal(deadlineOf(request, context.timeoutMs));
  const { name, version, label } = call.spec;
  const answering = answerCall(
    context,
    {
      spec: {
        name,
        version,
        label,
        digest: wantedDigest(request),
        client: () => headerText(request, 'nearfar-client-id') ?? clientOfAddress(request.ip),
      },
      api: call.api,
      entrypoint: 'REST',
      client: request.identity?.name ?? clientOfAddress(request.ip),
      limits: request.identity?.limits,
      ending,
      onVersion: (answeringVersion) => setVersionHeaders(reply, answeringVersion),
      header: (header) => headerText(request, header),
      route: () => routeOf(request),
    },
    codec,
  );
  return answering instanceof Promise ? answerLater(answering, reply, ending) : finish(reply, answering);
}

async function answerLater<Answer>(answering: Promise<Answered<Answer>>, reply: RestReply, ending: CallSignal): Promise<Answer> {
  const onClose = () => {
    if (!reply.raw.writableFinished) ending.cancel();
  };
  reply.raw.once('close', onClose);
  try {
    return finish(reply, await answering);
  } finally {
    reply.raw.off('close', onClose);
    ending[Symbol.dispose](); // with `using`, as it is compiled, this is 3 µs longer
  }
}

function finish<Answer>(reply: RestReply, { answer, timing, predictionId }: Answered<Answer>): Answer {
  if (predictionId !== undefined) reply.header(predictionIdName, predictionId);
  setTimingHeader(reply, timing);
  setCacheHeader(reply, timing);
  return answer;
}

/** Answers a question about a model, or changes one, over HTTP. */
export function observeRest<T>(
  context: RestContext,
  request: RestRequest,
  call: { readonly model: string; readonly api: string },
  work: () => T | Promise<T>,
): Promise<T> {
  const about = { header: (name: string) => headerText(request, name), route: () => routeOf(request) };
  return observeControl(context, { ...call, ...about, entrypoint: 'REST' }, work);
}

/** Undefined where one route of the router is many paths, as under `/v1/`. */
function routeOf({ method, routeOptions: { url = '*' } }: RestRequest): HttpRoute | undefined {
  return url.includes('*') ? undefined : { method, path: url.replace(/:(\w+)/g, '{$1}') };
}

/** The body as bytes; empty where there is none. */
export function bodyBytes(request: RestRequest): Uint8Array {
  return request.body instanceof Uint8Array ? request.body : new Uint8Array();
}

/** @throws {NearfarError} `invalid-argument` for a body that is not JSON. */
export function bodyJson(request: RestRequest): JsonValue {
  return parseJsonBody(bodyBytes(request));
}

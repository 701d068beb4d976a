import { defaultSignatureName, encodePredictJson, type JsonPredictRequest, type Manifest } from '../../../core/index.ts';
import type { ServableSpec } from '../../servables/index.ts';
import type { RestContext } from '../context.ts';
import { checkPredictRequest } from '../predict-request.ts';
import type { RestReply, RestRequest } from './exchange.ts';
import { decodeJsonBody, isLargeAsJson } from './large-json.ts';
import { answerRest, bodyBytes } from './rest-call.ts';
import { sendJson } from './send-json.ts';

/** TensorFlow Serving's `:predict`, by rows and by columns. */
export function predict(context: RestContext, request: RestRequest, reply: RestReply, spec: ServableSpec): void | Promise<void> {
  const body = bodyBytes(request);
  const answering = answerRest(
    context,
    request,
    reply,
    { spec, api: 'predict' },
    {
      decode: ({ manifest }, ending) => {
        const { signatures } = manifest;
        const decoding = decodeJsonBody(context, 'decodePredict', { body, signatures }, { jsonBytes: body.length, ending });
        return decoding instanceof Promise ? decoding.then((decoded) => toCall(manifest, decoded)) : toCall(manifest, decoding);
      },
      encode: (outputs, { format }): string | Uint8Array | Promise<Uint8Array> =>
        isLargeAsJson(outputs)
          ? context.runJsonJob('encodePredict', { outputs, format }).then((encoded) => encoded.body)
          : encodePredictJson(outputs, format),
    },
  );
  return answering instanceof Promise ? answering.then((json) => sendJson(reply, json)) : sendJson(reply, answering);
}

function toCall(manifest: Manifest, { signatureName, format, inputs }: JsonPredictRequest) {
  return { format, run: checkPredictRequest(manifest, { signature: signatureName || defaultSignatureName, inputs }) };
}

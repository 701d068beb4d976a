import { defaultSignatureName, encodePredictJson } from '../../../core/index.ts';
import type { ServableSpec } from '../../servables/index.ts';
import type { RestContext } from '../context.ts';
import { checkPredictRequest } from '../predict-request.ts';
import type { RestReply, RestRequest } from './exchange.ts';
import { decodeJsonBody, isLargeAsJson } from './large-json.ts';
import { answerRest, bodyBytes } from './rest-call.ts';
import { sendJson } from './send-json.ts';

/** TensorFlow Serving's `:predict`, by rows and by columns. */
export async function predict(context: RestContext, request: RestRequest, reply: RestReply, spec: ServableSpec): Promise<void> {
  const body = bodyBytes(request);
  const json = await answerRest(
    context,
    request,
    reply,
    { spec, api: 'predict' },
    {
      decode: async ({ manifest }, ending) => {
        const { signatures } = manifest;
        const decoded = await decodeJsonBody(context, 'decodePredict', { body, signatures }, { jsonBytes: body.length, ending });
        const { signatureName, format, inputs } = decoded;
        return { format, run: checkPredictRequest(manifest, { signature: signatureName || defaultSignatureName, inputs }) };
      },
      encode: (outputs, { format }) =>
        isLargeAsJson(outputs)
          ? context.runJsonJob('encodePredict', { outputs, format }).then((encoded) => encoded.body)
          : Buffer.from(encodePredictJson(outputs, format)),
    },
  );
  sendJson(reply, json);
}

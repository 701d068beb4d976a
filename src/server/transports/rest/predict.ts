import { decodePredictJson, defaultSignatureName, encodePredictJson, NearfarError } from '../../../core/index.ts';
import type { ServableSpec } from '../../servables/index.ts';
import type { RestContext } from '../context.ts';
import { checkPredictRequest } from '../predict-request.ts';
import type { RestReply, RestRequest } from './exchange.ts';
import { answerRest, bodyBytes } from './rest-call.ts';
import { sendJson } from './send-json.ts';

/** TensorFlow Serving's `:predict`, by rows and by columns. */
export async function predict(context: RestContext, request: RestRequest, reply: RestReply, spec: ServableSpec): Promise<void> {
  const text = await answerRest(
    context,
    request,
    reply,
    { spec, api: 'predict' },
    {
      decode: ({ manifest }) => {
        const { signatureName, format, inputs } = decodePredictJson(bodyBytes(request), (asked) => {
          const name = asked || defaultSignatureName;
          const signature = Object.hasOwn(manifest.signatures, name) ? manifest.signatures[name] : undefined;
          if (signature) return signature;
          throw new NearfarError('invalid-argument', `Serving signature name: "${name}" not found in signature def`, {
            details: { signature: name },
          });
        });
        return { format, run: checkPredictRequest(manifest, { signature: signatureName || defaultSignatureName, inputs }) };
      },
      encode: (outputs, { format }) => encodePredictJson(outputs, format),
    },
  );
  sendJson(reply, text);
}

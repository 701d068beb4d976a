import { encodeRegressionsJson, regressionsOf } from '../../../core/index.ts';
import type { ServableSpec } from '../../servables/index.ts';
import type { RestContext } from '../context.ts';
import { exampleRun } from '../example-request.ts';
import type { RestReply, RestRequest } from './exchange.ts';
import { decodeJsonBody } from './large-json.ts';
import { answerRest, bodyBytes } from './rest-call.ts';
import { sendJson } from './send-json.ts';

/** TensorFlow Serving's `:regress`. */
export async function regress(context: RestContext, request: RestRequest, reply: RestReply, spec: ServableSpec): Promise<void> {
  const body = bodyBytes(request);
  const text = await answerRest(
    context,
    request,
    reply,
    { spec, api: 'regress' },
    {
      decode: async ({ manifest }, ending) => {
        const asked = await decodeJsonBody(context, 'decodeExamples', { body }, { jsonBytes: body.length, ending });
        const { signatureName, examples } = asked;
        const task = { method: 'regress', signatureName } as const;
        return { examples: examples.length, run: exampleRun(manifest, task, examples, { checksMethod: context.checksSignatureMethod }) };
      },
      encode: (outputs, { examples }) => encodeRegressionsJson(regressionsOf(outputs, examples)),
    },
  );
  sendJson(reply, text);
}

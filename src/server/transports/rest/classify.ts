import { classificationsOf, encodeClassificationsJson } from '../../../core/index.ts';
import type { ServableSpec } from '../../servables/index.ts';
import type { RestContext } from '../context.ts';
import { exampleRun } from '../example-request.ts';
import type { RestReply, RestRequest } from './exchange.ts';
import { decodeJsonBody } from './large-json.ts';
import { answerRest, bodyBytes } from './rest-call.ts';
import { sendJson } from './send-json.ts';

/** TensorFlow Serving's `:classify`. */
export async function classify(context: RestContext, request: RestRequest, reply: RestReply, spec: ServableSpec): Promise<void> {
  const body = bodyBytes(request);
  const text = await answerRest(
    context,
    request,
    reply,
    { spec, api: 'classify' },
    {
      decode: async ({ manifest }, ending) => {
        const asked = await decodeJsonBody(context, 'decodeExamples', { body }, { jsonBytes: body.length, ending });
        const { signatureName, examples } = asked;
        const task = { method: 'classify', signatureName } as const;
        return { examples: examples.length, run: exampleRun(manifest, task, examples, { checksMethod: context.checksSignatureMethod }) };
      },
      encode: (outputs, { examples }) => encodeClassificationsJson(classificationsOf(outputs, examples)),
    },
  );
  sendJson(reply, text);
}

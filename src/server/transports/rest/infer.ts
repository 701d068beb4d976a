import { decodeInferRequest, encodeInferResponse, inferenceHeaderLengthName, NearfarError } from '../../../core/index.ts';
import type { ServableSpec } from '../../servables/index.ts';
import type { RestContext } from '../context.ts';
import { prepareInference } from '../inference.ts';
import { inferenceSignatureName } from '../predict-request.ts';
import { compressAnswer } from './deflate.ts';
import type { RestReply, RestRequest } from './exchange.ts';
import { headerText, inferenceHeaderLength } from './headers.ts';
import { assertJsonSize } from './json-limit.ts';
import { answerRest, bodyBytes } from './rest-call.ts';

/** The Open Inference Protocol's infer, with tensors in JSON or in binary. */
export async function infer(context: RestContext, request: RestRequest, reply: RestReply, spec: ServableSpec): Promise<void> {
  const headerLength = headerLengthOf(request);
  assertJsonSize(context, headerLength ?? bodyBytes(request).length);
  const { body, headerLength: answerLength } = await answerRest(
    context,
    request,
    reply,
    { spec, api: 'infer' },
    {
      decode: async (handle) => {
        const fallback = handle.manifest.signatures[inferenceSignatureName(handle.manifest, undefined)];
        const asked = decodeInferRequest(bodyBytes(request), headerLength, fallback);
        return { asked, ...(await prepareInference(handle, asked, context.classLabels)) };
      },
      encode: (outputs, { asked, answer }, { name, version }) => {
        const isBinary = new Map(asked.outputs?.map((output) => [output.name, output.isBinary]));
        const response = { modelName: name, modelVersion: version, id: asked.id, outputs: answer(outputs) };
        return encodeInferResponse(response, (output) => isBinary.get(output) ?? asked.isBinary);
      },
    },
  );
  reply.header('content-type', answerLength === undefined ? 'application/json' : 'application/octet-stream');
  if (answerLength !== undefined) reply.header(inferenceHeaderLengthName, answerLength);
  reply.send(await compressAnswer(request, reply, body));
}

function headerLengthOf(request: RestRequest): number | undefined {
  const length = inferenceHeaderLength(request);
  const text = headerText(request, inferenceHeaderLengthName);
  if (length !== undefined || text === undefined) return length;
  throw new NearfarError('invalid-argument', `Inference-Header-Content-Length is a number of bytes, got ${text}`);
}

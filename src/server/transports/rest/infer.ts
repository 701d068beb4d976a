import { encodeInferResponse, inferenceHeaderLengthName, NearfarError } from '../../../core/index.ts';
import type { ServableSpec } from '../../servables/index.ts';
import type { RestContext } from '../context.ts';
import { prepareInference } from '../inference.ts';
import { inferenceSignatureName } from '../predict-request.ts';
import { compressAnswer } from './deflate.ts';
import type { RestReply, RestRequest } from './exchange.ts';
import { headerText, inferenceHeaderLength } from './headers.ts';
import { assertJsonSize } from './json-limit.ts';
import { decodeJsonBody, isLargeAsJson } from './large-json.ts';
import { answerRest, bodyBytes } from './rest-call.ts';

/** The Open Inference Protocol's infer, with tensors in JSON or in binary. */
export async function infer(context: RestContext, request: RestRequest, reply: RestReply, spec: ServableSpec): Promise<void> {
  const headerLength = headerLengthOf(request);
  const received = bodyBytes(request);
  const jsonBytes = headerLength ?? received.length;
  assertJsonSize(context, jsonBytes);
  const { body, headerLength: answerLength } = await answerRest(
    context,
    request,
    reply,
    { spec, api: 'infer' },
    {
      decode: async (handle, ending) => {
        const signature = handle.manifest.signatures[inferenceSignatureName(handle.manifest, undefined)];
        const asked = await decodeJsonBody(context, 'decodeInfer', { body: received, headerLength, signature }, { jsonBytes, ending });
        return { asked, ...(await prepareInference(handle, asked, context.classLabels)) };
      },
      encode: (outputs, { asked, answer }, { name, version }) => {
        const binary = new Map(asked.outputs?.map((output) => [output.name, output.isBinary]));
        const isBinary = (output: string) => binary.get(output) ?? asked.isBinary;
        const response = { modelName: name, modelVersion: version, id: asked.id, outputs: answer(outputs) };
        const names = Object.keys(response.outputs);
        const inJson = Object.entries(response.outputs).filter(([output]) => !isBinary(output));
        return isLargeAsJson(Object.fromEntries(inJson))
          ? context.runJsonJob('encodeInfer', { ...response, binary: names.filter(isBinary) })
          : encodeInferResponse(response, isBinary);
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

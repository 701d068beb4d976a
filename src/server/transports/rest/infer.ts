import { encodeInferResponse, type InferBody, inferenceHeaderLengthName, NearfarError } from '../../../core/index.ts';
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
export function infer(context: RestContext, request: RestRequest, reply: RestReply, spec: ServableSpec): void | Promise<void> {
  const headerLength = headerLengthOf(request);
  const received = bodyBytes(request);
  const jsonBytes = headerLength ?? received.length;
  assertJsonSize(context, jsonBytes);
  const answering = answerRest(
    context,
    request,
    reply,
    { spec, api: 'infer' },
    {
      decode: (handle, ending) => {
        const signature = handle.manifest.signatures[inferenceSignatureName(handle.manifest, undefined)];
        const decoding = decodeJsonBody(context, 'decodeInfer', { body: received, headerLength, signature }, { jsonBytes, ending });
        return decoding instanceof Promise
          ? decoding.then((asked) => prepareInference(handle, asked, context.classLabels))
          : prepareInference(handle, decoding, context.classLabels);
      },
      encode: (outputs, { asked, answer }, { name, version }) => {
        const isBinary = (output: string) => asked.outputs?.find((wanted) => wanted.name === output)?.isBinary ?? asked.isBinary;
        const response = { modelName: name, modelVersion: version, id: asked.id, outputs: answer(outputs) };
        return isLargeAsJson(response.outputs, (output) => !isBinary(output))
          ? context.runJsonJob('encodeInfer', { ...response, binary: Object.keys(response.outputs).filter(isBinary) })
          : encodeInferResponse(response, isBinary);
      },
    },
  );
  return answering instanceof Promise ? answering.then((body) => sendBody(request, reply, body)) : sendBody(request, reply, answering);
}

function sendBody(request: RestRequest, reply: RestReply, { body, headerLength }: InferBody): void | Promise<void> {
  reply.header('content-type', headerLength === undefined ? 'application/json' : 'application/octet-stream');
  if (headerLength !== undefined) reply.header(inferenceHeaderLengthName, headerLength);
  const compressing = compressAnswer(request, reply, body);
  if (compressing instanceof Promise) return compressing.then((compressed) => void reply.send(compressed));
  reply.send(compressing);
}

function headerLengthOf(request: RestRequest): number | undefined {
  const length = inferenceHeaderLength(request);
  const text = headerText(request, inferenceHeaderLengthName);
  if (length !== undefined || text === undefined) return length;
  throw new NearfarError('invalid-argument', `Inference-Header-Content-Length is a number of bytes, got ${text}`);
}

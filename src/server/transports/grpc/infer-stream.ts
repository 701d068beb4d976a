import { once } from 'node:events';
import { create, type MessageShape } from '@bufbuild/protobuf';
import type { Server, ServerDuplexStream } from '@grpc/grpc-js';
import {
  GRPCInferenceService,
  type InferAnswer,
  InferParameterSchema,
  inferenceDatatypeOf,
  type ModelInferResponse,
  ModelInferResponseSchema,
  ModelStreamInferResponseSchema,
  readModelInferRequest,
  tensorBytes,
} from '../../../core/index.ts';
import { assertMay } from '../../security/index.ts';
import { CallSignal } from '../call.ts';
import type { GrpcContext } from '../context.ts';
import { toServiceError } from './errors.ts';
import { deadlineMsOf, factsOf } from './grpc-js-call.ts';
import { admitAgain } from './guard.ts';
import { infer, takeOverInfer } from './infer.ts';
import { endStream, type OpenStreams } from './streams.ts';
import { readMessage, writeMessage } from './unary.ts';

const { modelStreamInfer: method } = GRPCInferenceService.method;
type Request = MessageShape<typeof method.input>;
type Answer = MessageShape<typeof method.output>;

/** Requests of one stream that run at once; more are not read before. */
const maxInFlight = 16;

/** Asks the server to say in each answer whether it is the last one to its request; here each is. */
const finalAsked = 'triton_enable_empty_final_response';

/**
 * GRPCInferenceService.ModelStreamInfer: requests run side by side, each has one answer, in the order of the requests. One that fails
 * is answered by its error, and the stream goes on.
 */
export function addInferStream(server: Server, context: GrpcContext, streams: OpenStreams): void {
  server.register<Request, Answer>(
    `/${method.parent.typeName}/${method.name}`,
    (call: ServerDuplexStream<Request, Answer>) => serveStream(call, context, streams),
    (message) => writeMessage(method.output, message),
    (bytes) =>
      readMessage(method.input, bytes, { read: readModelInferRequest, takeOver: (request) => takeOverInfer(request, context.buffers) }),
    'bidi',
  );
}

function serveStream(call: ServerDuplexStream<Request, Answer>, context: GrpcContext, streams: OpenStreams): void {
  const signals = new Set<CallSignal>();
  let inFlight = 0;
  let isClosing = false;
  let written = Promise.resolve();
  const answer = async (request: Request): Promise<Answer> => {
    using deadline = new CallSignal(deadlineMsOf(call));
    signals.add(deadline);
    return answerOne(request, call, deadline, context).finally(() => signals.delete(deadline));
  };
  call.on('data', (request: Request) => {
    if (++inFlight >= maxInFlight) call.pause();
    const answering = answer(request);
    written = written.then(async () => {
      const message = await answering;
      if (!call.cancelled && !call.write(message)) await once(call, 'drain');
      inFlight--;
      if (!isClosing) call.resume();
    });
  });
  call.on('end', () => void written.then(() => call.end()));
  const cancelAll = () => {
    for (const signal of signals) signal.cancel();
  };
  streams.add(call, cancelAll, () => {
    // What was read is answered.
    isClosing = true;
    call.pause();
    void written.then(() => endStream(call));
  });
}

async function answerOne(
  request: Request,
  call: ServerDuplexStream<Request, Answer>,
  deadline: CallSignal,
  context: GrpcContext,
): Promise<Answer> {
  const facts = factsOf(call, deadline);
  try {
    const identity = await admitAgain(call.metadata);
    if (identity) assertMay(identity, 'predict', request.modelName);
    const inferResponse = await infer(context, request, facts, toMessage);
    if (request.parameters[finalAsked]?.parameterChoice.value === true) {
      inferResponse.parameters['triton_final_response'] = create(InferParameterSchema, {
        parameterChoice: { case: 'boolParam', value: true },
      });
    }
    return create(ModelStreamInferResponseSchema, { inferResponse });
  } catch (error) {
    const { details } = toServiceError(error, facts.trailer, context.log);
    return create(ModelStreamInferResponseSchema, { errorMessage: details, inferResponse: { id: request.id } });
  }
}

/** With raw contents, as Triton's answers have them. */
function toMessage({ outputs, ...names }: InferAnswer): ModelInferResponse {
  const tensors = Object.entries(outputs);
  return create(ModelInferResponseSchema, {
    ...names,
    outputs: tensors.map(([name, { dtype, shape }]) => ({
      name,
      datatype: inferenceDatatypeOf(dtype) ?? dtype,
      shape: shape.map(BigInt),
    })),
    rawOutputContents: tensors.map(([name, tensor]) => tensorBytes(name, tensor)),
  });
}

import {
  type AnyTensor,
  decodeInferContents,
  type InferAnswer,
  type ModelInferRequest,
  NearfarError,
  parseInferParameters,
  parseRequestedOutput,
  type TensorMap,
  tensorFromBytes,
} from '../../../core/index.ts';
import type { BufferPool } from '../../buffer-pool.ts';
import type { GrpcContext } from '../context.ts';
import { type AskedInference, prepareInference } from '../inference.ts';
import { versionOrLabel } from '../model-spec.ts';
import { answerGrpc, type UnaryCall } from './unary.ts';

/** Moves the bytes of a request's tensors out of its message into memory of their own. */
export function takeOverInfer(request: ModelInferRequest, buffers: BufferPool): void {
  request.rawInputContents = request.rawInputContents.map((bytes) => buffers.adopt(bytes));
  for (const { contents } of request.inputs) {
    if (contents) contents.bytesContents = contents.bytesContents.map((bytes) => new Uint8Array(bytes));
  }
}

/**
 * GRPCInferenceService.ModelInfer.
 * @param encode Makes the message, or its bytes.
 */
export function infer<Answer>(
  context: GrpcContext,
  request: ModelInferRequest,
  call: UnaryCall,
  encode: (answer: InferAnswer) => Answer,
): Answer | Promise<Answer> {
  const spec = { name: request.modelName, ...versionOrLabel(request.modelVersion) };
  return answerGrpc(
    context,
    call,
    { spec, api: 'ModelInfer' },
    {
      decode: (handle) => prepareInference(handle, decodeRequest(request), context.classLabels),
      encode: (outputs, { answer }, { name, version }) =>
        encode({ modelName: name, modelVersion: version, id: request.id, outputs: answer(outputs) }),
    },
  );
}

function decodeRequest(request: ModelInferRequest): AskedInference {
  const outputs = request.outputs.map(({ name, parameters }) => parseRequestedOutput(name, plainParameters(parameters), true));
  return {
    ...parseInferParameters(plainParameters(request.parameters)),
    inputs: decodeInputs(request),
    outputs: outputs.length > 0 ? outputs : undefined,
  };
}

function decodeInputs({ inputs, rawInputContents }: ModelInferRequest): TensorMap {
  const isRaw = rawInputContents.length > 0;
  const tensors = new Map<string, AnyTensor>();
  for (const [index, { name, datatype, shape, contents, parameters }] of inputs.entries()) {
    if (tensors.has(name)) throw invalid(`tensor '${name}' is given twice`);
    if (parameters['shared_memory_region']) throw new NearfarError('unsupported', `tensor '${name}': shared memory is not served`);
    if (isRaw && contents) throw invalid(`contents field must not be specified when using raw_input_contents for '${name}'`);
    const sizes = shape.map(Number);
    const raw = rawInputContents[index];
    if (isRaw && !raw) break;
    tensors.set(name, raw ? tensorFromBytes(name, datatype, sizes, raw) : decodeInferContents(name, datatype, sizes, contents));
  }
  if (isRaw && rawInputContents.length !== inputs.length) {
    throw invalid(`raw_input_contents has ${rawInputContents.length} tensors for ${inputs.length} inputs`);
  }
  return Object.fromEntries(tensors);
}

/** Parameters of a message as those of JSON are. */
export function plainParameters(
  parameters: Readonly<Record<string, { readonly parameterChoice: { readonly value?: unknown } }>>,
): Record<string, unknown> {
  return Object.fromEntries(Object.entries(parameters).map(([name, { parameterChoice }]) => [name, parameterChoice.value]));
}

function invalid(message: string): NearfarError {
  return new NearfarError('invalid-argument', message);
}

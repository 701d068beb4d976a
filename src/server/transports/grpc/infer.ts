import { create } from '@bufbuild/protobuf';
import {
  type AnyTensor,
  decodeInferContents,
  type InferParameter,
  inferenceDatatypeOf,
  type ModelInferRequest,
  type ModelInferResponse,
  ModelInferResponseSchema,
  NearfarError,
  type TensorMap,
  tensorBytes,
  tensorFromBytes,
} from '../../../core/index.ts';
import type { BufferPool } from '../../buffer-pool.ts';
import type { GrpcContext } from '../context.ts';
import { versionOrLabel } from '../model-spec.ts';
import { checkPredictRequest, inferenceSignatureName } from '../predict-request.ts';
import { answerGrpc, type UnaryCall } from './unary.ts';

/** Moves the bytes of a request's tensors out of its message into memory of their own. */
export function takeOverInfer(request: ModelInferRequest, buffers: BufferPool): void {
  request.rawInputContents = request.rawInputContents.map((bytes) => buffers.adopt(bytes));
  for (const { contents } of request.inputs) {
    if (contents) contents.bytesContents = contents.bytesContents.map((bytes) => new Uint8Array(bytes));
  }
}

/** GRPCInferenceService.ModelInfer; it answers with raw contents, as Triton does. */
export function infer(context: GrpcContext, request: ModelInferRequest, call: UnaryCall): Promise<ModelInferResponse> {
  const spec = { name: request.modelName, ...versionOrLabel(request.modelVersion) };
  return answerGrpc(
    context,
    call,
    { spec, api: 'ModelInfer' },
    {
      decode: ({ manifest }) => {
        const signature = inferenceSignatureName(manifest, textParameter(request.parameters['signature_name']));
        const outputs = request.outputs.length > 0 ? request.outputs.map(({ name }) => name) : undefined;
        return { run: checkPredictRequest(manifest, { signature, inputs: decodeInputs(request), outputs }) };
      },
      encode: (outputs, _, { name, version }) => {
        const tensors = Object.entries(outputs);
        return create(ModelInferResponseSchema, {
          modelName: name,
          modelVersion: version,
          id: request.id,
          outputs: tensors.map(([output, { dtype, shape }]) => ({
            name: output,
            datatype: inferenceDatatypeOf(dtype) ?? dtype,
            shape: shape.map(BigInt),
          })),
          rawOutputContents: tensors.map(([output, tensor]) => tensorBytes(output, tensor)),
        });
      },
    },
  );
}

function decodeInputs({ inputs, rawInputContents }: ModelInferRequest): TensorMap {
  const isRaw = rawInputContents.length > 0;
  if (isRaw && rawInputContents.length !== inputs.length) {
    throw new NearfarError('invalid-argument', `raw_input_contents has ${rawInputContents.length} tensors for ${inputs.length} inputs`);
  }
  const tensors = inputs.map(({ name, datatype, shape, contents }, index): [string, AnyTensor] => {
    const sizes = shape.map(Number);
    const raw = rawInputContents[index];
    if (raw) {
      if (contents) throw new NearfarError('invalid-argument', `input '${name}' has both raw and typed contents`);
      return [name, tensorFromBytes(name, datatype, sizes, raw)];
    }
    return [name, decodeInferContents(name, datatype, sizes, contents)];
  });
  return Object.fromEntries(tensors);
}

function textParameter(parameter: InferParameter | undefined): string | undefined {
  return parameter?.parameterChoice.case === 'stringParam' ? parameter.parameterChoice.value : undefined;
}

import { decodeTensorProto, defaultSignatureName, NearfarError, type PredictRequest, writePredictResponse } from '../../../core/index.ts';
import type { BufferPool } from '../../buffer-pool.ts';
import type { GrpcContext } from '../context.ts';
import { checkPredictRequest } from '../predict-request.ts';
import { toServableSpec } from './model-spec.ts';
import { answerGrpc, type UnaryCall } from './unary.ts';

/** Moves the bytes of a request's tensors out of its message into memory of their own. */
export function takeOverPredict({ inputs }: PredictRequest, buffers: BufferPool): void {
  for (const proto of Object.values(inputs)) {
    proto.tensorContent = buffers.adopt(proto.tensorContent);
    proto.stringVal = proto.stringVal.map((bytes) => new Uint8Array(bytes));
  }
}

/** PredictionService.Predict; answers the bytes of a PredictResponse. */
export function predict(context: GrpcContext, request: PredictRequest, call: UnaryCall): Uint8Array | Promise<Uint8Array> {
  const spec = toServableSpec(request.modelSpec);
  const signature = request.modelSpec?.signatureName || defaultSignatureName;
  return answerGrpc(
    context,
    call,
    { spec, api: 'Predict' },
    {
      decode: ({ manifest }) => {
        if (!Object.hasOwn(manifest.signatures, signature)) {
          throw new NearfarError('failed-precondition', `Serving signature key "${signature}" not found.`, { details: { signature } });
        }
        const inputs = Object.fromEntries(Object.entries(request.inputs).map(([alias, proto]) => [alias, decodeTensorProto(proto, alias)]));
        const outputs = request.outputFilter.length > 0 ? request.outputFilter : undefined;
        return { run: checkPredictRequest(manifest, { signature, inputs, outputs }) };
      },
      encode: (outputs, _, { name, version }) =>
        writePredictResponse({ name, version, signatureName: signature }, outputs, { asContent: context.respondsWithTensorContent }),
    },
  );
}

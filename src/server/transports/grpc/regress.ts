import { create } from '@bufbuild/protobuf';
import {
  type RegressionRequest,
  type RegressionResponse,
  RegressionResponseSchema,
  regressionsOf,
  serializedExamples,
} from '../../../core/index.ts';
import type { GrpcContext } from '../context.ts';
import { exampleRun } from '../example-request.ts';
import { toModelSpec, toServableSpec } from './model-spec.ts';
import { answerGrpc, type UnaryCall } from './unary.ts';

/** PredictionService.Regress. */
export function regress(
  context: GrpcContext,
  request: RegressionRequest,
  call: UnaryCall,
): RegressionResponse | Promise<RegressionResponse> {
  const spec = toServableSpec(request.modelSpec);
  const task = { method: 'regress', signatureName: request.modelSpec?.signatureName ?? '' } as const;
  return answerGrpc(
    context,
    call,
    { spec, api: 'Regress' },
    {
      decode: ({ manifest }) => {
        const examples = serializedExamples(request.input);
        return { examples: examples.length, run: exampleRun(manifest, task, examples, { checksMethod: context.checksSignatureMethod }) };
      },
      encode: (outputs, { examples, run }, handle) =>
        create(RegressionResponseSchema, {
          modelSpec: toModelSpec(handle, run.signature),
          result: { regressions: regressionsOf(outputs, examples).map((value) => ({ value })) },
        }),
    },
  );
}

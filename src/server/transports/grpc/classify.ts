import { create } from '@bufbuild/protobuf';
import {
  type ClassificationRequest,
  type ClassificationResponse,
  ClassificationResponseSchema,
  classificationsOf,
  serializedExamples,
} from '../../../core/index.ts';
import type { GrpcContext } from '../context.ts';
import { exampleRun } from '../example-request.ts';
import { toModelSpec, toServableSpec } from './model-spec.ts';
import { answerGrpc, type UnaryCall } from './unary.ts';

/** PredictionService.Classify. */
export function classify(
  context: GrpcContext,
  request: ClassificationRequest,
  call: UnaryCall,
): ClassificationResponse | Promise<ClassificationResponse> {
  const spec = toServableSpec(request.modelSpec);
  const task = { method: 'classify', signatureName: request.modelSpec?.signatureName ?? '' } as const;
  return answerGrpc(
    context,
    call,
    { spec, api: 'Classify' },
    {
      decode: ({ manifest }) => {
        const examples = serializedExamples(request.input);
        return { examples: examples.length, run: exampleRun(manifest, task, examples, { checksMethod: context.checksSignatureMethod }) };
      },
      encode: (outputs, { examples, run }, handle) =>
        create(ClassificationResponseSchema, {
          modelSpec: toModelSpec(handle, run.signature),
          result: { classifications: classificationsOf(outputs, examples).map((classes) => ({ classes })) },
        }),
    },
  );
}

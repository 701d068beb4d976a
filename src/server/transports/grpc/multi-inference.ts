import { create } from '@bufbuild/protobuf';
import {
  classificationsOf,
  defaultSignatureName,
  type ExampleMethod,
  type InferenceTask,
  type Manifest,
  type MultiInferenceRequest,
  type MultiInferenceResponse,
  MultiInferenceResponseSchema,
  NearfarError,
  type RunRequest,
  regressionsOf,
  resolveBindings,
  serializedExamples,
  type TensorMap,
} from '../../../core/index.ts';
import { joinRuns } from '../../servables/index.ts';
import type { GrpcContext } from '../context.ts';
import { exampleRun } from '../example-request.ts';
import { toModelSpec, toServableSpec } from './model-spec.ts';
import { answerGrpc, type UnaryCall } from './unary.ts';

/** PredictionService.MultiInference: several signatures of one version about the same examples, answered in the order of the tasks. */
export function multiInference(
  context: GrpcContext,
  request: MultiInferenceRequest,
  call: UnaryCall,
): MultiInferenceResponse | Promise<MultiInferenceResponse> {
  const spec = toServableSpec(request.tasks[0]?.modelSpec);
  return answerGrpc(
    context,
    call,
    { spec, api: 'MultiInference' },
    {
      decode: ({ manifest, variant }) => {
        const tasks = readTasks(request.tasks);
        const examples = serializedExamples(request.input);
        const options = { checksMethod: context.checksSignatureMethod, missing: 'Requested signature not found in model graph: ' };
        const [run, ...beside] = tasks.map((task) => exampleRun(manifest, task, examples, options));
        assertOneInput(manifest, variant, [run!, ...beside]);
        const joined = joinRuns(manifest, [run!, ...beside]);
        return { tasks, examples: examples.length, run: run!, beside, joined }; // the spec is that of the first task, so there is one
      },
      encode: (outputs, { tasks, examples, run, beside }, handle, outputsBeside) => {
        const runs = [run, ...beside];
        return create(MultiInferenceResponseSchema, {
          results: [outputs, ...outputsBeside].map((found, index) => ({
            modelSpec: toModelSpec(handle, runs[index]?.signature ?? ''),
            result: resultOf(tasks[index]?.method, found, examples),
          })),
        });
      },
    },
  );
}

/** The checks of TensorFlow Serving (multi_inference.cc) that look at all tasks, with its texts. */
function readTasks(tasks: readonly InferenceTask[]): { method: ExampleMethod; signatureName: string }[] {
  const seen = new Set<string>();
  return tasks.map(({ modelSpec, methodName }) => {
    if (!modelSpec?.name) throw new NearfarError('invalid-argument', 'Found ModelSpec with an empty model name.');
    if (modelSpec.name !== tasks[0]?.modelSpec?.name) {
      throw new NearfarError('invalid-argument', 'All ModelSpecs in a MultiInferenceRequest must access the same model name.');
    }
    const signatureName = modelSpec.signatureName || defaultSignatureName;
    if (seen.has(signatureName)) throw new NearfarError('invalid-argument', `Duplicate evaluation of signature: ${signatureName}`);
    seen.add(signatureName);
    const [, method] = /^tensorflow\/serving\/(classify|regress)$/.exec(methodName) ?? [];
    if (method === 'classify' || method === 'regress') return { method, signatureName };
    throw new NearfarError('unsupported', `Unsupported signature method_name: ${methodName}`, { details: { methodName } });
  });
}

/** TensorFlow Serving runs its session once for all tasks, so they have to read one tensor of the graph. */
function assertOneInput(manifest: Manifest, variantId: string, runs: readonly RunRequest[]): void {
  const variant = manifest.variants.find(({ id }) => id === variantId);
  if (!variant) return;
  const tensors = new Set(runs.map(({ signature }) => resolveBindings(manifest, variant, signature).inputs[0]?.tensor));
  if (tensors.size > 1) throw new NearfarError('invalid-argument', 'Input tensor must be the same for all Signatures.');
}

function resultOf(method: ExampleMethod | undefined, outputs: TensorMap, count: number) {
  return method === 'regress'
    ? ({
        case: 'regressionResult',
        value: { regressions: regressionsOf(outputs, count).map((value) => ({ value })) },
      } as const)
    : ({
        case: 'classificationResult',
        value: { classifications: classificationsOf(outputs, count).map((classes) => ({ classes })) },
      } as const);
}

import {
  type AnyTensor,
  classifyOutput,
  type InferParameters,
  type Manifest,
  type RequestedOutput,
  type RunRequest,
  type Signature,
  type TensorMap,
} from '../../core/index.ts';
import type { ServableHandle } from '../servables/index.ts';
import type { ClassLabels } from './class-labels.ts';
import { checkPredictRequest, inferenceSignatureName } from './predict-request.ts';

/** An inference request of the Open Inference Protocol, from either transport. */
export interface AskedInference extends InferParameters {
  readonly inputs: TensorMap;
  readonly outputs: readonly RequestedOutput[] | undefined;
}

export interface Inference<Asked extends AskedInference> {
  readonly asked: Asked;
  readonly run: RunRequest;
  readonly deadlineMs: number | undefined;
  /** The outputs with classes in place of those whose classes were asked for. */
  answer(outputs: TensorMap): TensorMap;
}

/**
 * At once where no names of classes have to be read.
 * @throws {NearfarError} as {@link checkPredictRequest}.
 */
export function prepareInference<Asked extends AskedInference>(
  handle: ServableHandle,
  asked: Asked,
  classLabels: ClassLabels,
): Inference<Asked> | Promise<Inference<Asked>> {
  const { manifest } = handle;
  const signature = inferenceSignatureName(manifest, asked.signature);
  const run = checkPredictRequest(manifest, { signature, inputs: asked.inputs, outputs: asked.outputs?.map(({ name }) => name) });
  const prepared = { asked, run, deadlineMs: asked.timeoutMs, answer: asTheyAre };
  const isClassified = asked.outputs?.some(({ classCount }) => classCount !== undefined) === true;
  return isClassified ? withClasses(handle, prepared, classLabels) : prepared;
}

const asTheyAre = (outputs: TensorMap): TensorMap => outputs;

async function withClasses<Asked extends AskedInference>(
  handle: ServableHandle,
  prepared: Inference<Asked>,
  classLabels: ClassLabels,
): Promise<Inference<Asked>> {
  const { tasks, signatures } = handle.manifest;
  const { signature } = prepared.run;
  const task = tasks?.['image-classification'];
  const classified = new Map<string, { readonly classCount: number; readonly labels: readonly string[] | undefined }>();
  for (const { name, classCount } of prepared.asked.outputs ?? []) {
    if (classCount === undefined) continue;
    const isTask = task?.signature === signature && task.output.name === name;
    classified.set(name, { classCount, labels: isTask ? await classLabels(handle, task.output.labels) : undefined });
  }
  const isBatched = isBatchedSignature(signatures[signature]);
  const answer = (name: string, tensor: AnyTensor): AnyTensor => {
    const classes = classified.get(name);
    return classes ? classifyOutput(name, tensor, { ...classes, isBatched }) : tensor;
  };
  return {
    ...prepared,
    answer: (outputs) => Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, answer(name, tensor)])),
  };
}

/** Whether the first dimension of all tensors counts the rows of a batch, and others follow it, as Triton's `max_batch_size` above 0 says. */
export function isBatchedSignature(signature: Signature | undefined): boolean {
  return hasRows(signature, 2);
}

/** Rows that a request brings; 1 where its signature does not count them. */
export function batchRows(manifest: Manifest, { signature, inputs }: RunRequest): number {
  if (!hasRows(manifest.signatures[signature], 1)) return 1;
  const [first] = Object.values(inputs);
  return first?.shape[0] ?? 1;
}

function hasRows(signature: Signature | undefined, leastRank: number): boolean {
  if (!signature) return false;
  const { inputs, outputs } = signature;
  const areRows = (tensors: Signature['inputs']) => {
    for (const name in tensors) {
      const { shape = [] } = tensors[name] ?? {};
      if (shape.length < leastRank || shape[0] !== -1) return false;
    }
    return true;
  };
  return areRows(inputs) && areRows(outputs) && Object.keys(inputs).length + Object.keys(outputs).length > 0;
}

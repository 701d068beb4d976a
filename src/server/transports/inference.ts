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

export interface Inference {
  readonly run: RunRequest;
  readonly deadlineMs: number | undefined;
  /** The outputs with classes in place of those whose classes were asked for. */
  answer(outputs: TensorMap): TensorMap;
}

/** @throws {NearfarError} as {@link checkPredictRequest}. */
export async function prepareInference(handle: ServableHandle, asked: AskedInference, classLabels: ClassLabels): Promise<Inference> {
  const { manifest } = handle;
  const signature = inferenceSignatureName(manifest, asked.signature);
  const run = checkPredictRequest(manifest, { signature, inputs: asked.inputs, outputs: asked.outputs?.map(({ name }) => name) });
  const task = manifest.tasks?.['image-classification'];
  const classified = new Map<string, { readonly classCount: number; readonly labels: readonly string[] | undefined }>();
  for (const { name, classCount } of asked.outputs ?? []) {
    if (classCount === undefined) continue;
    const isTask = task?.signature === signature && task.output.name === name;
    classified.set(name, { classCount, labels: isTask ? await classLabels(handle, task.output.labels) : undefined });
  }
  const isBatched = isBatchedSignature(manifest.signatures[signature]);
  const answer = (name: string, tensor: AnyTensor): AnyTensor => {
    const classes = classified.get(name);
    return classes ? classifyOutput(name, tensor, { ...classes, isBatched }) : tensor;
  };
  return {
    run,
    deadlineMs: asked.timeoutMs,
    answer: (outputs) =>
      classified.size === 0 ? outputs : Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, answer(name, tensor)])),
  };
}

/** Whether the first dimension of all tensors counts the rows of a batch, and others follow it, as Triton's `max_batch_size` above 0 says. */
export function isBatchedSignature(signature: Signature | undefined): boolean {
  return hasRows(signature, 2);
}

/** Rows that a request brings; 1 where its signature does not count them. */
export function batchRows(manifest: Manifest, { signature, inputs }: RunRequest): number {
  const [first] = Object.values(inputs);
  return first && hasRows(manifest.signatures[signature], 1) ? (first.shape[0] ?? 1) : 1;
}

function hasRows(signature: Signature | undefined, leastRank: number): boolean {
  const tensors = signature ? [...Object.values(signature.inputs), ...Object.values(signature.outputs)] : [];
  return tensors.length > 0 && tensors.every(({ shape }) => shape.length >= leastRank && shape[0] === -1);
}

import { transfer } from 'comlink';
import { type ClassifyAnswer, type TaskAnswer, type TaskCall, takesPicture, taskOf } from '../core/index.ts';
import { untilAborted } from './failover.ts';
import { type Photo, toImageSource } from './image-source.ts';
import type { CallPlan, ModelParts } from './live-model.ts';
import type { ModelTasks, TaskOptions } from './model.ts';
import { atLeast, countOf } from './options.ts';
import { checkPlainInput } from './plain-input.ts';

// A module of its own, loaded by the first task.

type Parts = Pick<ModelParts, 'manifest' | 'media' | 'baseUrl'>;

/**
 * How both legs answer a task: a picture is decoded and prepared once, for either.
 * @throws {NearfarError} `unsupported` when the version does not have the task; `invalid-argument` for an input or an option.
 */
export async function planTask(
  parts: Parts,
  task: keyof ModelTasks,
  input: unknown,
  { topK = 5, threshold, maxDetections }: TaskOptions,
  signal: AbortSignal,
): Promise<CallPlan<TaskAnswer>> {
  const options = {
    topK: countOf('topK', topK),
    threshold: threshold === undefined ? undefined : atLeast('threshold', threshold, Number.NEGATIVE_INFINITY),
    maxDetections: maxDetections === undefined ? undefined : countOf('maxDetections', maxDetections),
  };
  if (task === 'image-classification') return planClassification(parts, input as Photo, options, signal);
  const { manifest, media, baseUrl } = parts;
  if (!takesPicture(manifest, task)) return plan({ task, input: checkPlainInput(task, input), options }, 0);
  const { source, transfer: movable } = await untilAborted(toImageSource(input as Photo, baseUrl), signal);
  const { name, version, tasks } = manifest;
  const { picture, preprocessMs } = await media.call(
    (api, callId) => api.preparePicture(callId, transfer(source, movable), { name, version, tasks }, task),
    { signal },
  );
  return plan({ task, input: picture, options }, preprocessMs);
}

function plan(call: Omit<TaskCall, 'callId'>, preprocessMs: number): CallPlan<TaskAnswer> {
  return {
    preprocessMs,
    onDevice: (api, handle, callId) => api.runTask(handle, { ...call, callId }),
    onServer: (api, target, callId, deadlineMs) => api.runTaskOnServer(target, { ...call, callId, deadlineMs }),
  };
}

/** By the calls of `classify`, which need no task to be loaded. */
async function planClassification(
  { manifest, media, baseUrl }: Parts,
  photo: Photo,
  { topK }: TaskCall['options'],
  signal: AbortSignal,
): Promise<CallPlan<TaskAnswer>> {
  const { input } = taskOf(manifest, 'image-classification');
  const { source, transfer: movable } = await untilAborted(toImageSource(photo, baseUrl), signal);
  const prepare = media.call((api, callId) => api.prepareImage(callId, transfer(source, movable), input), { signal });
  const { image, preprocessMs } = await prepare;
  const asTask = ({ predictions, timing }: ClassifyAnswer): TaskAnswer => ({ output: predictions, timing });
  return {
    preprocessMs,
    onDevice: async (api, handle, callId) => asTask(await api.classify(handle, { callId, image, topK })),
    onServer: async (api, target, callId, deadlineMs) => {
      const answer = await api.classifyOnServer(target, { callId, image, topK, deadlineMs });
      return { ...answer, answer: asTask(answer.answer) };
    },
  };
}

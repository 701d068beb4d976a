import { assertFiniteInput, NearfarError, type OpenedTask, type TaskAnswer, type TaskCall, type TaskSource } from '../../core/index.ts';
import { openTask } from '../../core/tasks/open-task/index.ts';
import type { LoadedModel } from './open-model.ts';

// Loaded by the first call of such a task.

/** What of a loaded model a task needs. */
type TaskModel = Pick<LoadedModel, 'manifest' | 'taskFiles' | 'loaded'>;

type AnyTask = OpenedTask<unknown, TaskCall['options'], TaskAnswer['output']>;

/** Opened once for each loaded model; what failed is tried again. */
const opened = new WeakMap<TaskModel, Map<TaskCall['task'], Promise<AnyTask>>>();

/** @throws {NearfarError} `unsupported` for a task that the model does not have; `invalid-argument` for an input that does not fit it. */
export async function runTask(model: TaskModel, { task: name, input, options }: TaskCall, signal: AbortSignal): Promise<TaskAnswer> {
  const startedAt = performance.now();
  assertFiniteInput(input);
  const task = await openOnce(model, name);
  signal.throwIfAborted();
  const batch = task.encode([input]);
  const { signature, outputs } = task;
  const encodedAt = performance.now();
  const tensors = await model.loaded.run({ signature, inputs: batch.tensors, outputs }, { signal });
  const ranAt = performance.now();
  const [output] = task.decode(tensors, batch, options);
  if (output === undefined) throw new NearfarError('internal', `the task ${name} gave no answer`);
  const timing = { queueMs: 0, preprocessMs: encodedAt - startedAt, inferMs: ranAt - encodedAt, postprocessMs: performance.now() - ranAt };
  return { output, timing };
}

function openOnce(model: TaskModel, name: TaskCall['task']): Promise<AnyTask> {
  const tasks = opened.get(model) ?? new Map<TaskCall['task'], Promise<AnyTask>>();
  opened.set(model, tasks);
  const known = tasks.get(name);
  if (known) return known;
  const opening = open(model, name);
  tasks.set(name, opening);
  opening.catch(() => tasks.delete(name));
  return opening;
}

async function open({ manifest, taskFiles }: TaskModel, name: TaskCall['task']): Promise<AnyTask> {
  const readFile: TaskSource['readFile'] = async (path) => {
    const bytes = taskFiles.get(path);
    if (bytes) return bytes;
    throw new NearfarError('not-found', `${manifest.name} version ${manifest.version} has no file ${path}`, { details: { path } });
  };
  // The public method has the type of each task's input.
  return (await openTask(name, { manifest, readFile })) as unknown as AnyTask;
}

import {
  assertFiniteInput,
  type EncodedBatch,
  NearfarError,
  type OpenedTask,
  type TaskAnswer,
  type TaskCall,
  type TaskSource,
} from '../../core/index.ts';
import { openTask } from '../../core/tasks/open-task/index.ts';
import type { LoadedModel } from './open-model.ts';
import type { ModelCall } from './run-queue.ts';

// Loaded by the first call of such a task.

/** What of a loaded model a task needs. */
type TaskModel = Pick<LoadedModel, 'manifest' | 'taskFiles' | 'loaded'>;

type AnyTask = OpenedTask<unknown, TaskCall['options'], TaskAnswer['output']>;

/** Opened once for each loaded model; what failed is tried again. */
const opened = new WeakMap<TaskModel, Map<TaskCall['task'], Promise<AnyTask>>>();

/** @throws {NearfarError} `unsupported` for a task that the model does not have; `invalid-argument` for an input that does not fit it. */
export async function openTaskCall<Model extends TaskModel>(
  model: Model,
  { task: name, input, options }: TaskCall,
  signal: AbortSignal,
): Promise<Omit<ModelCall<TaskAnswer['output']>, 'model'> & { readonly model: Model }> {
  assertFiniteInput(input);
  const task = await openOnce(model, name);
  const { signature, outputs } = task;
  let batch: EncodedBatch | undefined;
  const encode = () => {
    batch ??= task.encode([input]);
    return batch;
  };
  return {
    model,
    signal,
    signature,
    outputs,
    encode: () => ({ inputs: encode().tensors }),
    decode: (tensors) => {
      const [output] = task.decode(tensors, encode(), options);
      if (output === undefined) throw new NearfarError('internal', `the task ${name} gave no answer`);
      return output;
    },
  };
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

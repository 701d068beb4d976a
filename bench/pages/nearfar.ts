import { type BackendId, createClient, type Lock, type RunReport } from 'nearfar';
import { taskOfPage } from './task.ts';

// Opens a model and classifies one photo, as an application does at its start.

export interface NearfarTask {
  readonly name: string;
  readonly lock: Lock;
  readonly server?: string;
  readonly backends?: readonly BackendId[];
}

export interface FirstAnswer {
  /** From the beginning of the navigation to the answer. */
  readonly ms: number;
  readonly run: RunReport;
  readonly top: number | undefined;
}

async function answer({ name, ...options }: NearfarTask): Promise<FirstAnswer> {
  const client = createClient({ models: '/models', ...options });
  const model = await client.open(name);
  const { predictions, run } = await model.classify('/photo.jpg');
  return { ms: performance.now(), run, top: predictions[0]?.index };
}

Object.assign(window, { result: answer(taskOfPage()) });

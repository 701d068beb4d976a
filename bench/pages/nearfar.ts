import { type BackendId, createClient, type DownloadMonitor, type Lock, type RunReport } from 'nearfar';
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
  /** When each phase of the opening began, in the same milliseconds. */
  readonly phases: Readonly<Record<string, number>>;
}

async function answer({ name, ...options }: NearfarTask): Promise<FirstAnswer> {
  const phases: Record<string, number> = { script: performance.now() };
  const client = createClient({ models: '/models', ...options });
  const monitor = (events: DownloadMonitor) => {
    events.addEventListener('version', () => Object.assign(phases, { version: performance.now() }));
    events.addEventListener('phase', ({ detail }) => Object.assign(phases, { [detail.phase]: performance.now() }));
  };
  const model = await client.open(name, { monitor });
  const { predictions, run } = await model.classify('/photo.jpg');
  return { ms: performance.now(), run, top: predictions[0]?.index, phases };
}

Object.assign(window, { result: answer(taskOfPage()) });

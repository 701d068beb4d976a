import { NearfarError } from '../errors.ts';
import type { ImageClassification, Manifest, TaskName } from '../manifest/index.ts';

/** What the manifest says about a task: of image classification checked, of any other as it stands there. */
interface TasksOfManifest extends Record<TaskName, unknown> {
  readonly 'image-classification': ImageClassification;
}

/**
 * What the manifest says about a task.
 * @throws {NearfarError} `unsupported` when the model does not have the task.
 */
export function taskOf<Name extends TaskName>(manifest: Manifest, task: Name): TasksOfManifest[Name] {
  const { name, version } = manifest;
  const tasks: { readonly [Each in TaskName]?: TasksOfManifest[Each] | undefined } = manifest.tasks ?? {};
  const spec = tasks[task];
  if (spec !== undefined) return spec;
  const has = Object.keys(tasks);
  throw new NearfarError('unsupported', `${name} version ${version} has no task ${task}; its tasks: ${has.join(', ') || 'none'}`, {
    details: { name, version, task, tasks: has },
  });
}

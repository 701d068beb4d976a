import { NearfarError } from '../errors.ts';
import type { ImageClassification, Manifest, TaskName } from '../manifest/index.ts';

/** What the manifest says about a task: of image classification checked, of any other as it stands there. */
interface TasksOfManifest extends Record<TaskName, unknown> {
  readonly 'image-classification': ImageClassification;
}

/** What of a manifest says which tasks there are. */
export type TaskManifest = Pick<Manifest, 'name' | 'version' | 'tasks'>;

/**
 * What the manifest says about a task.
 * @throws {NearfarError} `unsupported` when the model does not have the task.
 */
export function taskOf<Name extends TaskName>(manifest: TaskManifest, task: Name): TasksOfManifest[Name] {
  const { name, version } = manifest;
  const tasks: { readonly [Each in TaskName]?: TasksOfManifest[Each] | undefined } = manifest.tasks ?? {};
  const spec = tasks[task];
  if (spec !== undefined) return spec;
  const has = Object.keys(tasks);
  throw new NearfarError('unsupported', `${name} version ${version} has no task ${task}; its tasks: ${has.join(', ') || 'none'}`, {
    details: { name, version, task, tasks: has },
  });
}

/** The tasks that take a picture, beside image classification; embeddings are of texts, too. */
export type PictureTask = 'object-detection' | 'image-segmentation' | 'image-to-image' | 'embeddings';

/** Whether a task of the version is one of those. @throws {NearfarError} `unsupported` when the model does not have the task. */
export function takesPicture(manifest: TaskManifest, task: TaskName): task is PictureTask {
  const spec = taskOf(manifest, task);
  if (task !== 'embeddings') return task === 'object-detection' || task === 'image-segmentation' || task === 'image-to-image';
  const { input } = (spec ?? {}) as { readonly input?: { readonly tokenizer?: unknown } | null };
  return input?.tokenizer === undefined;
}

import { NearfarError } from '../errors.ts';
import type { ImageClassification, Manifest } from '../manifest/index.ts';

/** What a manifest says about each task nearfar knows. */
export interface TaskSpecs {
  readonly 'image-classification': ImageClassification;
}

/**
 * What the manifest says about a task.
 * @throws {NearfarError} `unsupported` when the model does not have the task.
 */
export function taskOf<Name extends keyof TaskSpecs>(manifest: Manifest, task: Name): TaskSpecs[Name] {
  const { name, version, tasks = {} } = manifest;
  const spec: TaskSpecs[Name] | undefined = tasks[task];
  if (spec) return spec;
  const has = Object.keys(tasks);
  throw new NearfarError('unsupported', `${name} version ${version} has no task ${task}; its tasks: ${has.join(', ') || 'none'}`, {
    details: { name, version, task, tasks: has },
  });
}

import * as v from 'valibot';
import { NearfarError } from '../errors.ts';
import { type TaskName, taskSchemas } from '../manifest/task-schemas/index.ts';
import { type TaskManifest, taskOf } from './task-of.ts';

/**
 * What the manifest says about a task, checked.
 * @throws {NearfarError} `unsupported` when the model does not have the task; `invalid-argument` that names the first wrong field.
 */
export function parseTask<Name extends TaskName>(manifest: TaskManifest, task: Name): v.InferOutput<(typeof taskSchemas)[Name]> {
  const result = v.safeParse<(typeof taskSchemas)[Name]>(taskSchemas[task], taskOf(manifest, task));
  if (result.success) return result.output;
  const [{ message }] = result.issues;
  const path = [`tasks.${task}`, v.getDotPath(result.issues[0])].filter((part) => part !== null).join('.');
  throw new NearfarError('invalid-argument', `manifest is not valid at ${path}: ${message}`, {
    details: { what: 'manifest', path, message },
  });
}

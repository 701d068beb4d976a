import * as v from 'valibot';
import { modelNameSchema, NearfarError, versionSchema } from '../core/index.ts';

/**
 * Checks the names of a version that is to be made.
 * @throws {NearfarError} `invalid-argument`.
 */
export function assertNames({
  name,
  version,
  labels = [],
}: {
  readonly name: string;
  readonly version?: string | undefined;
  readonly labels?: readonly string[] | undefined;
}): void {
  // Readers take more names than we make: servers pass over hidden folders, and commands write name@version and name@label.
  if (!v.is(modelNameSchema, name) || name.startsWith('.') || name.includes('@'))
    throw new NearfarError(
      'invalid-argument',
      `"${name}" is no model name: one path segment without / : or @ that does not begin with a dot`,
    );
  if (version !== undefined && !v.is(versionSchema, version)) {
    throw new NearfarError('invalid-argument', `"${version}" is no version: a positive int64 as a decimal number`);
  }
  const bad = labels.find((label) => /^\d*$/.test(label));
  if (bad !== undefined)
    throw new NearfarError('invalid-argument', `"${bad}" is no label: a name that is not a number, which would be taken for a version`);
}

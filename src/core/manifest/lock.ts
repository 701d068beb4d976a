import * as v from 'valibot';
import { digestSchema, modelNameSchema, versionSchema } from './manifest.ts';
import { parseDocument } from './parse.ts';

export const lockSchema = v.looseObject({
  lockfileVersion: v.literal(1),
  models: v.record(modelNameSchema, v.looseObject({ version: versionSchema, digest: digestSchema })),
});

/** nearfar.lock.json: an application's pins, one exact version and digest per model. */
export type LockFile = v.InferOutput<typeof lockSchema>;

/** @throws {NearfarError} `invalid-argument`; `unsupported` for a later lock file version. */
export function parseLockFile(bytes: Uint8Array): LockFile {
  return parseDocument('nearfar.lock.json', lockSchema, bytes, { versionField: 'lockfileVersion', version: 1 });
}

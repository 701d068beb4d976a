import * as v from 'valibot';
import { digestSchema, modelNameSchema, versionSchema } from './manifest.ts';
import { parseDocument } from './parse.ts';

const shares = v.pipe(
  v.record(v.string(), v.pipe(v.number(), v.minValue(0), v.maxValue(100))),
  v.check(
    (traffic) => sumOf(traffic) <= 100 + 1e-9,
    ({ input }) => `the shares sum up to ${sumOf(input)} %`,
  ),
);

export const versionsSchema = v.looseObject({
  schemaVersion: v.literal(1),
  name: modelNameSchema,
  versions: v.array(v.looseObject({ version: versionSchema, digest: digestSchema })),
  /** Movable names of versions. */
  labels: v.record(v.string(), versionSchema),
  /** Shares of clients by label, in percent. */
  traffic: v.optional(shares),
});

/** versions.json, the only mutable file of a model: what is published, labels, traffic shares. */
export type Versions = v.InferOutput<typeof versionsSchema>;

function sumOf(traffic: Readonly<Record<string, number>>): number {
  return Object.values(traffic).reduce((sum, share) => sum + share, 0);
}

/** @throws {NearfarError} `invalid-argument`; `unsupported` for a later schema version. */
export function parseVersions(bytes: Uint8Array): Versions {
  return parseDocument('versions.json', versionsSchema, bytes, { versionField: 'schemaVersion', version: 1 });
}

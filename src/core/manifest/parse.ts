import * as v from 'valibot';
import { NearfarError } from '../errors.ts';

/** Parses JSON bytes by a schema; the first thing that is wrong is named by its path. */
export function parseDocument<S extends v.GenericSchema>(
  what: string,
  schema: S,
  bytes: Uint8Array,
  expected: { versionField: string; version: number },
): v.InferOutput<S> {
  const json = parseJson(what, bytes);
  const found = typeof json === 'object' && json !== null ? (json as Record<string, unknown>)[expected.versionField] : undefined;
  if (typeof found === 'number' && found > expected.version) {
    throw new NearfarError(
      'unsupported',
      `${what} has ${expected.versionField} ${found}; this nearfar reads up to ${expected.version}, update it`,
      {
        details: { what, got: found, want: expected.version },
      },
    );
  }
  const result = v.safeParse(schema, json);
  if (result.success) return result.output;
  const issue = result.issues[0];
  const path = v.getDotPath(issue) ?? '(root)';
  throw new NearfarError('invalid-argument', `${what} is not valid at ${path}: ${issue.message}`, {
    details: { what, path, message: issue.message },
  });
}

function parseJson(what: string, bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new NearfarError('invalid-argument', `${what} is not JSON: ${cause instanceof Error ? cause.message : cause}`, {
      cause,
      details: { what },
    });
  }
}

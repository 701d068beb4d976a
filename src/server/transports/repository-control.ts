import { decodeBase64, NearfarError } from '../../core/index.ts';
import type { LoadRequest } from '../model-control.ts';

/**
 * Reads the parameters of Triton's load: `config`, the model's configuration as JSON, and `file:<version>/<path>`, what a file of the
 * model's folder holds instead, in base64 or as bytes.
 * @throws {NearfarError} `invalid-argument`, `unsupported`.
 */
export function parseLoadParameters(parameters: Readonly<Record<string, unknown>>): LoadRequest {
  const files = new Map<string, Uint8Array>();
  let config: string | undefined;
  for (const [name, value] of Object.entries(parameters)) {
    if (name.startsWith('file:')) files.set(name.slice('file:'.length), fileBytes(name, value));
    else if (name !== 'config') throw invalid(`unrecognized parameter '${name}' of load: there are 'config' and 'file:<version>/<name>'`);
    else if (typeof value !== 'string') throw invalid("the parameter 'config' is not a string");
    else config = value;
  }
  return { config: config === undefined ? undefined : parseConfig(config), files };
}

function parseConfig(text: string): Readonly<Record<string, unknown>> {
  let config: unknown;
  try {
    config = JSON.parse(text);
  } catch (cause) {
    throw new NearfarError('invalid-argument', `the parameter 'config' is no JSON: ${cause instanceof Error ? cause.message : cause}`, {
      cause,
    });
  }
  if (typeof config !== 'object' || config === null || Array.isArray(config)) throw invalid("the parameter 'config' is no JSON object");
  return { ...config };
}

function fileBytes(name: string, value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value;
  const bytes = typeof value === 'string' ? decodeBase64(value) : undefined;
  if (bytes) return bytes;
  throw invalid(`the parameter '${name}' is no base64`);
}

function invalid(message: string): NearfarError {
  return new NearfarError('invalid-argument', message);
}

import { checkRequest, defaultSignatureName, type Manifest, NearfarError, type RunRequest, type Signature } from '../../core/index.ts';

/**
 * TensorFlow Serving's checks of a predict request (predict_util.cc), with its texts, then ours.
 * @throws {NearfarError} `invalid-argument`, `dtype-mismatch`, `shape-mismatch`.
 */
export function checkPredictRequest(manifest: Manifest, request: RunRequest): RunRequest {
  // A client may name any signature, `constructor` too; checkRequest refuses the unknown ones.
  const signature = Object.hasOwn(manifest.signatures, request.signature) ? manifest.signatures[request.signature] : undefined;
  if (signature) {
    assertInputNames(signature, Object.keys(request.inputs));
    if (request.outputs) assertOutputNames(signature, request.outputs);
  }
  checkRequest(manifest, request);
  return request;
}

function assertInputNames(signature: Signature, names: readonly string[]): void {
  if (names.length === Object.keys(signature.inputs).length && names.every((name) => Object.hasOwn(signature.inputs, name))) return;
  const sent = [...names].sort();
  const known = Object.keys(signature.inputs).sort();
  const extra = sent.filter((name) => !known.includes(name));
  const missing = known.filter((name) => !sent.includes(name));
  if (sent.length !== known.length) {
    throw invalid(
      `input size does not match signature: ${sent.length}!=${known.length} len({${sent}}) != len({${known}}). Sent extra: {${extra}}. Missing but required: {${missing}}.`,
    );
  }
  const [unknown] = extra;
  if (unknown === undefined) return;
  throw invalid(`input tensor alias not found in signature: ${unknown}. Inputs expected to be in the set {${known}}.`);
}

function assertOutputNames(signature: Signature, names: readonly string[]): void {
  const seen = new Set<string>();
  for (const name of names) {
    if (!Object.hasOwn(signature.outputs, name)) {
      const known = Object.keys(signature.outputs).sort();
      throw invalid(`output tensor alias not found in signature: ${name} Outputs expected to be in the set {${known}}.`);
    }
    if (seen.has(name)) throw invalid(`duplicate output tensor alias: ${name}`);
    seen.add(name);
  }
}

/** The signature an Open Inference Protocol request means, which has no name for it: the default one, else the first. */
export function inferenceSignatureName(manifest: Manifest, asked: string | undefined): string {
  if (asked !== undefined) return asked;
  const names = Object.keys(manifest.signatures);
  return names.includes(defaultSignatureName) ? defaultSignatureName : (names[0] ?? defaultSignatureName);
}

function invalid(message: string): NearfarError {
  return new NearfarError('invalid-argument', message);
}

import {
  checkRequest,
  defaultSignatureName,
  type ExampleMethod,
  exampleInputs,
  exampleOutputs,
  type Manifest,
  NearfarError,
  type RunRequest,
} from '../../core/index.ts';

/** What Classify and Regress ask of one signature. */
export interface ExampleTask {
  readonly method: ExampleMethod;
  /** '' is the default one. */
  readonly signatureName: string;
}

/**
 * TensorFlow Serving's checks of a classify or regress request, then ours.
 * @param examples Serialized tf.Examples.
 * @param options.missing The text for a signature that is not there, without its name.
 * @throws {NearfarError} `invalid-argument`, `failed-precondition`, `dtype-mismatch`.
 */
export function exampleRun(
  manifest: Manifest,
  { method, signatureName }: ExampleTask,
  examples: readonly Uint8Array<ArrayBuffer>[],
  { checksMethod = false, missing = 'No signature was found with the name: ' }: { checksMethod?: boolean | undefined; missing?: string },
): RunRequest {
  const name = signatureName || defaultSignatureName;
  const signature = Object.hasOwn(manifest.signatures, name) ? manifest.signatures[name] : undefined;
  if (!signature) throw new NearfarError('invalid-argument', `${missing}${name}`, { details: { signature: name } });
  const run = { signature: name, outputs: exampleOutputs(signature, method, { checksMethod }), inputs: exampleInputs(examples) };
  checkRequest(manifest, run);
  return run;
}

import * as v from 'valibot';
import { NearfarError } from '../errors.ts';
import { dtypes } from '../tensor/index.ts';
import { filePathSchema, layoutSchema } from './fields.ts';
import { parseDocument } from './parse.ts';
import { taskReferences, tasksSchema } from './tasks.ts';

/** `sha256:` and 64 lower-case hex digits. */
export const digestSchema = v.pipe(v.string(), v.regex(/^sha256:[0-9a-f]{64}$/, 'expected sha256: and 64 hex digits'));

/** A positive int64 as a decimal string without leading zeros. */
export const versionSchema = v.pipe(
  v.string(),
  v.regex(/^[1-9][0-9]{0,18}$/, 'expected a positive int64 as a decimal string'),
  v.check((version) => BigInt.asIntN(64, BigInt(version)) > 0n, 'expected a positive int64 as a decimal string'),
);

/** A model name: one path segment without `/` or `:`. */
export const modelNameSchema = v.pipe(v.string(), v.regex(/^(?!\.{1,2}$)[^/:\\\0]{1,255}$/, 'expected one path segment without / or :'));

const byteCountSchema = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const dimensionSchema = v.pipe(v.number(), v.safeInteger(), v.minValue(-1));

const tensorInfoSchema = v.looseObject({ dtype: v.picklist(dtypes), shape: v.array(dimensionSchema) });

const signatureSchema = v.looseObject({
  method: v.picklist(['predict', 'classify', 'regress']),
  inputs: v.record(v.string(), tensorInfoSchema),
  outputs: v.record(v.string(), tensorInfoSchema),
});

/** A tensor of a SavedModel as it declares it itself: of the graph it was, which a variant's graph is not. */
const declaredTensorSchema = v.looseObject({
  tensor: v.string(),
  dtype: v.picklist(dtypes),
  /** Null where not even the rank is said. */
  shape: v.nullable(v.array(dimensionSchema)),
});

const declaredSignatureSchema = v.looseObject({
  /** Such as `tensorflow/serving/predict`. */
  methodName: v.string(),
  inputs: v.record(v.string(), declaredTensorSchema),
  outputs: v.record(v.string(), declaredTensorSchema),
});

const bindingSchema = v.looseObject({
  /** Name of the variant's own tensor. */
  tensor: v.string(),
  /** Layout of the variant's own tensor, where it differs from the signature's. */
  layout: v.optional(layoutSchema),
  /** What is applied to the variant's own output to get the signature's. */
  activation: v.optional(v.picklist(['none', 'softmax', 'sigmoid'])),
});

const variantSchema = v.looseObject({
  id: v.string(),
  format: v.picklist(['tfjs-graph', 'tfjs-layers', 'onnx']),
  precision: v.picklist(['float32', 'float16', 'uint16', 'uint8', 'int8']),
  entry: filePathSchema,
  files: v.array(filePathSchema),
  /** Features the device must have, by their WebGPU names (`shader-f16`). */
  requires: v.array(v.string()),
  /** Per signature; a tensor that is not named has the signature's own name and layout. */
  bindings: v.optional(
    v.record(
      v.string(),
      v.looseObject({ inputs: v.optional(v.record(v.string(), bindingSchema)), outputs: v.optional(v.record(v.string(), bindingSchema)) }),
    ),
  ),
  /** A device passes where |a - b| <= absolute + relative * |b| for every golden output b. */
  tolerance: v.looseObject({ absolute: v.number(), relative: v.number() }),
});

const fileSchema = v.looseObject({
  bytes: byteCountSchema,
  digest: digestSchema,
  /** Length in bytes and digest of each chunk, in file order. */
  chunks: v.array(v.tuple([byteCountSchema, digestSchema])),
});

export const manifestSchema = v.looseObject({
  schemaVersion: v.literal(1),
  name: modelNameSchema,
  version: versionSchema,
  license: v.optional(v.string()),
  description: v.optional(v.string()),
  signatures: v.record(v.string(), signatureSchema),
  /** The signatures as the SavedModel declares them that the version came from, which is what clients of TensorFlow Serving expect to be told. */
  savedModel: v.optional(v.looseObject({ signatures: v.record(v.string(), declaredSignatureSchema) })),
  tasks: v.optional(tasksSchema),
  variants: v.pipe(v.array(variantSchema), v.minLength(1)),
  files: v.record(filePathSchema, fileSchema),
  golden: v.array(v.looseObject({ signature: v.string(), inputs: filePathSchema, outputs: filePathSchema })),
  provenance: v.optional(v.looseObject({})),
});

/** Immutable description of one version; schema version 1. */
export type Manifest = v.InferOutput<typeof manifestSchema>;
export type Signature = v.InferOutput<typeof signatureSchema>;
export type DeclaredSignature = v.InferOutput<typeof declaredSignatureSchema>;
export type TensorInfo = v.InferOutput<typeof tensorInfoSchema>;
export type Variant = v.InferOutput<typeof variantSchema>;
export type ManifestFile = v.InferOutput<typeof fileSchema>;

/**
 * Parses the bytes of a manifest.json; unknown fields are kept.
 * @throws {NearfarError} `invalid-argument` that names the first wrong field; `unsupported` for a later schema version.
 */
export function parseManifest(bytes: Uint8Array): Manifest {
  const manifest = parseDocument('manifest', manifestSchema, bytes, { versionField: 'schemaVersion', version: 1 });
  return assertManifestReferences(manifest);
}

/** The rules a schema cannot say: every name used is declared, chunk lengths add up to the file's. */
function assertManifestReferences(manifest: Manifest): Manifest {
  const fail = (path: string, message: string): never => {
    throw new NearfarError('invalid-argument', `manifest is not valid at ${path}: ${message}`, {
      details: { what: 'manifest', path, message },
    });
  };
  const assertFile = (path: string, file: string) => Object.hasOwn(manifest.files, file) || fail(path, `${file} is not among files`);
  const assertSignature = (path: string, name: string) =>
    Object.hasOwn(manifest.signatures, name) || fail(path, `${name} is not among signatures`);
  for (const [name, file] of Object.entries(manifest.files)) {
    const sum = file.chunks.reduce((bytes, [length]) => bytes + length, 0);
    if (sum !== file.bytes) fail(`files.${name}`, `chunks hold ${sum} bytes, the file ${file.bytes}`);
  }
  for (const [index, variant] of manifest.variants.entries()) {
    assertFile(`variants.${index}.entry`, variant.entry);
    for (const file of variant.files) assertFile(`variants.${index}.files`, file);
    for (const signature of Object.keys(variant.bindings ?? {})) assertSignature(`variants.${index}.bindings`, signature);
  }
  for (const [index, example] of manifest.golden.entries()) {
    assertSignature(`golden.${index}.signature`, example.signature);
    assertFile(`golden.${index}.inputs`, example.inputs);
    assertFile(`golden.${index}.outputs`, example.outputs);
  }
  for (const { name, signature, files } of taskReferences(manifest.tasks)) {
    if (signature !== undefined) assertSignature(`tasks.${name}.signature`, signature);
    for (const file of files) assertFile(`tasks.${name}`, file);
  }
  return manifest;
}

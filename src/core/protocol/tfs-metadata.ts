import { create, toJson } from '@bufbuild/protobuf';
import type { Manifest, Signature } from '../manifest/index.ts';
import { type SignatureDef, SignatureDefSchema } from './gen/tensorflow/core/protobuf/meta_graph_pb.ts';
import { type SignatureDefMap, SignatureDefMapSchema } from './gen/tensorflow_serving/apis/get_model_metadata_pb.ts';
import { grpcStatusNameOf } from './status-names.ts';
import { dataTypeOf } from './wire-dtypes.ts';

/** The signature a request means when it names none. */
export const defaultSignatureName = 'serving_default';

/** The signatures of a version as TensorFlow's SignatureDefs; tensors carry the names they have in the variant that is loaded. */
export function signatureDefMap(manifest: Manifest, variantId: string): SignatureDefMap {
  const variant = manifest.variants.find(({ id }) => id === variantId);
  return create(SignatureDefMapSchema, {
    signatureDef: Object.fromEntries(
      Object.entries(manifest.signatures).map(([name, signature]) => [name, signatureDef(signature, variant?.bindings?.[name])]),
    ),
  });
}

type Bindings = NonNullable<Manifest['variants'][number]['bindings']>[string];

function signatureDef(signature: Signature, bindings: Bindings | undefined): SignatureDef {
  const tensorInfos = (infos: Signature['inputs'], bound: Bindings['inputs']) =>
    Object.fromEntries(
      Object.entries(infos).map(([name, { dtype, shape }]) => [
        name,
        {
          encoding: { case: 'name' as const, value: bound?.[name]?.tensor ?? name },
          dtype: dataTypeOf(dtype),
          tensorShape: { dim: shape.map((size) => ({ size: BigInt(size) })) },
        },
      ]),
    );
  return create(SignatureDefSchema, {
    inputs: tensorInfos(signature.inputs, bindings?.inputs),
    outputs: tensorInfos(signature.outputs, bindings?.outputs),
    methodName: `tensorflow/serving/${signature.method}`,
  });
}

/** The answer of `GET …/metadata`: defaults are printed, int64 are strings. */
export function encodeMetadataJson(spec: { readonly name: string; readonly version: string }, signatures: SignatureDefMap): string {
  const modelSpec = { name: spec.name, signature_name: '', version: spec.version };
  const signatureDefs = toJson(SignatureDefMapSchema, signatures, { alwaysEmitImplicit: true, useProtoFieldName: true });
  return `${JSON.stringify({ model_spec: modelSpec, metadata: { signature_def: signatureDefs } }, null, 1)}\n`;
}

/** One version's state, as both transports report it. */
export interface VersionStatusView {
  readonly version: string;
  readonly state: string;
  /** Canonical gRPC status number; 0 when nothing is wrong. */
  readonly errorCode: number;
  readonly errorMessage: string;
}

/** The answer of `GET /v1/models/{m}`. */
export function encodeStatusJson(versions: readonly VersionStatusView[]): string {
  const statuses = versions.map(({ version, state, errorCode, errorMessage }) => ({
    version,
    state,
    status: { error_code: grpcStatusNameOf(errorCode), error_message: errorMessage },
  }));
  return `${JSON.stringify({ model_version_status: statuses }, null, 1)}\n`;
}

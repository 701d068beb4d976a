import { create, toJson } from '@bufbuild/protobuf';
import type { DeclaredSignature, Manifest, Signature } from '../manifest/index.ts';
import { type SignatureDef, SignatureDefSchema } from './gen/tensorflow/core/protobuf/meta_graph_pb.ts';
import { type SignatureDefMap, SignatureDefMapSchema } from './gen/tensorflow_serving/apis/get_model_metadata_pb.ts';
import { grpcStatusNameOf } from './status-names.ts';
import { dataTypeOf } from './wire-dtypes.ts';

/** The signature a request means when it names none. */
export const defaultSignatureName = 'serving_default';

/**
 * The signatures of a version as TensorFlow's SignatureDefs: as its SavedModel declares them, where it came from one; else tensors carry
 * the names they have in the variant that is loaded.
 */
export function signatureDefMap({ signatures, savedModel, variants }: Manifest, variantId: string): SignatureDefMap {
  const bindings = variants.find(({ id }) => id === variantId)?.bindings;
  const declared = savedModel?.signatures ?? {};
  return create(SignatureDefMapSchema, {
    signatureDef: Object.fromEntries(
      Object.entries(signatures).map(([name, signature]) => [
        name,
        signatureDef((Object.hasOwn(declared, name) ? declared[name] : undefined) ?? boundSignature(signature, bindings?.[name])),
      ]),
    ),
  });
}

type Bindings = NonNullable<Manifest['variants'][number]['bindings']>[string];

function boundSignature({ method, inputs, outputs }: Signature, bindings: Bindings | undefined): DeclaredSignature {
  const bind = (infos: Signature['inputs'], bound: Bindings['inputs']) =>
    Object.fromEntries(Object.entries(infos).map(([name, info]) => [name, { ...info, tensor: bound?.[name]?.tensor ?? name }]));
  return {
    methodName: `tensorflow/serving/${method}`,
    inputs: bind(inputs, bindings?.inputs),
    outputs: bind(outputs, bindings?.outputs),
  };
}

function signatureDef({ methodName, inputs, outputs }: DeclaredSignature): SignatureDef {
  const tensorInfos = (infos: DeclaredSignature['inputs']) =>
    Object.fromEntries(
      Object.entries(infos).map(([name, { tensor, dtype, shape }]) => [
        name,
        {
          encoding: { case: 'name' as const, value: tensor },
          dtype: dataTypeOf(dtype),
          tensorShape: shape ? { dim: shape.map((size) => ({ size: BigInt(size) })) } : { unknownRank: true },
        },
      ]),
    );
  return create(SignatureDefSchema, { inputs: tensorInfos(inputs), outputs: tensorInfos(outputs), methodName });
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

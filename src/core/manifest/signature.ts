import * as v from 'valibot';
import { decodeBase64, encodeBase64 } from '../base64.ts';
import { NearfarError } from '../errors.ts';
import { digestOf } from './digest.ts';
import type { Manifest } from './manifest.ts';
import { parseDocument } from './parse.ts';

// manifest.sig in the format of OpenSSF Model Signing v1.0: a Sigstore bundle v0.3 around a DSSE envelope around an in-toto statement that
// lists the digest of manifest.json and of every file it names. Only signatures by a key are made and read, no certificates.
// https://github.com/sigstore/model-transparency, https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md

const BUNDLE_TYPE = 'application/vnd.dev.sigstore.bundle.v0.3+json';
const PAYLOAD_TYPE = 'application/vnd.in-toto+json';
const STATEMENT_TYPE = 'https://in-toto.io/Statement/v1';
const PREDICATE_TYPE = 'https://model_signing/signature/v1.0';

/** Files beside a manifest that its signature does not cover. */
const unsignedFiles = ['manifest.sig', 'report.json'];

/** The manifest that is signed: parsed, and the digest of its bytes. */
export interface SignedManifest {
  readonly manifest: Manifest;
  readonly digest: string;
}

/** The bytes to sign: the statement, and what the signature itself is made over. */
export async function encodeStatement(
  signed: SignedManifest,
): Promise<{ payload: Uint8Array<ArrayBuffer>; toSign: Uint8Array<ArrayBuffer> }> {
  const resources = resourcesOf(signed).map(([name, digest]) => ({ name, algorithm: 'sha256', digest }));
  const statement = {
    _type: STATEMENT_TYPE,
    subject: [{ name: signed.manifest.name, digest: { sha256: await rootDigest(resources) } }],
    predicateType: PREDICATE_TYPE,
    predicate: {
      serialization: { method: 'files', hash_type: 'sha256', allow_symlinks: false, ignore_paths: unsignedFiles },
      resources,
    },
  };
  const payload = new TextEncoder().encode(JSON.stringify(statement));
  return { payload, toSign: preAuthEncoding(payload) };
}

/**
 * manifest.sig.
 * @param signature ECDSA over `toSign` of {@link encodeStatement}, in DER.
 * @param keyHint SHA-256 of the public key's PEM file, as hex.
 */
export function encodeSignature(payload: Uint8Array, signature: Uint8Array, keyHint: string): Uint8Array<ArrayBuffer> {
  const bundle = {
    mediaType: BUNDLE_TYPE,
    verificationMaterial: { publicKey: { hint: keyHint }, tlogEntries: [] },
    dsseEnvelope: {
      payload: encodeBase64(payload),
      payloadType: PAYLOAD_TYPE,
      signatures: [{ sig: encodeBase64(signature), keyid: '' }],
    },
  };
  return new TextEncoder().encode(`${JSON.stringify(bundle, null, 2)}\n`);
}

const bundleSchema = v.looseObject({
  mediaType: v.literal(BUNDLE_TYPE),
  dsseEnvelope: v.looseObject({
    payload: v.string(),
    payloadType: v.literal(PAYLOAD_TYPE),
    signatures: v.pipe(v.array(v.looseObject({ sig: v.string() })), v.minLength(1)),
  }),
});

const statementSchema = v.looseObject({
  _type: v.literal(STATEMENT_TYPE),
  subject: v.tuple([v.looseObject({ digest: v.looseObject({ sha256: v.string() }) })]),
  predicateType: v.literal(PREDICATE_TYPE),
  predicate: v.looseObject({
    resources: v.array(
      v.looseObject({ name: v.string(), algorithm: v.literal('sha256'), digest: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)) }),
    ),
  }),
});

/**
 * Checks that a manifest is signed by one of some keys, and the signature is about this manifest and its files.
 * @param bytes Of manifest.sig.
 * @param keys Public keys as PEM (`-----BEGIN PUBLIC KEY-----`): EC on P-256, P-384 or P-521.
 * @throws {NearfarError} `signature-invalid`; `invalid-argument` for a key that cannot be read.
 */
export async function verifySignature(bytes: Uint8Array, signed: SignedManifest, keys: readonly string[]): Promise<void> {
  const { name, version } = signed.manifest;
  const refuse = (why: string, cause?: unknown) =>
    new NearfarError('signature-invalid', `the signature of ${name} version ${version} is not valid: ${why}`, {
      cause,
      details: { name, version, digest: signed.digest },
    });
  const parse = <S extends v.GenericSchema>(what: string, schema: S, document: Uint8Array) => {
    try {
      return parseDocument(what, schema, document, { versionField: 'schemaVersion', version: 1 });
    } catch (cause) {
      throw refuse(cause instanceof Error ? cause.message : String(cause), cause);
    }
  };
  const { dsseEnvelope } = parse('manifest.sig', bundleSchema, bytes);
  const payload = decodeBase64(dsseEnvelope.payload);
  const signature = decodeBase64(dsseEnvelope.signatures[0]?.sig ?? '');
  if (!payload || !signature) throw refuse('it is not base64');
  if (!(await isSignedByAny(keys, signature, preAuthEncoding(payload)))) {
    throw refuse(`none of the trusted keys made it`);
  }
  const { subject, predicate } = parse('the signed statement', statementSchema, payload);
  if (subject[0].digest.sha256 !== (await rootDigest(predicate.resources))) throw refuse('its root digest is not that of its resources');
  const listed = new Map(predicate.resources.map((resource) => [resource.name, resource.digest]));
  for (const [file, digest] of resourcesOf(signed)) {
    if (listed.get(file) !== digest) throw refuse(`it ${listed.has(file) ? `is about another ${file}` : `does not cover ${file}`}`);
  }
}

/** The error for a version without a signature where only signed ones are trusted. */
export function notSigned({ manifest: { name, version }, digest }: SignedManifest, cause: unknown): NearfarError {
  return new NearfarError('signature-invalid', `${name} version ${version} is not signed, and only signed versions are trusted`, {
    cause,
    details: { name, version, digest },
  });
}

/** Name and hex digest of manifest.json and of the files it names, in the order of their names. */
function resourcesOf({ manifest, digest }: SignedManifest): [string, string][] {
  const files = Object.entries(manifest.files).map(([path, file]): [string, string] => [path, withoutPrefix(file.digest)]);
  return [...files, ['manifest.json', withoutPrefix(digest)] satisfies [string, string]].sort(([a], [b]) => (a < b ? -1 : 1));
}

function withoutPrefix(digest: string): string {
  return digest.replace(/^sha256:/, '');
}

async function rootDigest(resources: readonly { readonly digest: string }[]): Promise<string> {
  const hex = resources.map(({ digest }) => digest).join('');
  const bytes = Uint8Array.from({ length: hex.length / 2 }, (_, index) => Number.parseInt(hex.slice(index * 2, index * 2 + 2), 16));
  return withoutPrefix(await digestOf(bytes));
}

/** DSSE's pre-authentication encoding. */
function preAuthEncoding(payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const head = new TextEncoder().encode(`DSSEv1 ${PAYLOAD_TYPE.length} ${PAYLOAD_TYPE} ${payload.byteLength} `);
  const bytes = new Uint8Array(head.byteLength + payload.byteLength);
  bytes.set(head);
  bytes.set(payload, head.byteLength);
  return bytes;
}

/** The curves by the object identifier inside a public key (RFC 5480), with the digest that goes with each and the size of a coordinate. */
const curves = [
  { namedCurve: 'P-256', oid: '06082a8648ce3d030107', hash: 'SHA-256', bytes: 32 },
  { namedCurve: 'P-384', oid: '06052b81040022', hash: 'SHA-384', bytes: 48 },
  { namedCurve: 'P-521', oid: '06052b81040023', hash: 'SHA-512', bytes: 66 },
] as const;

async function isSignedByAny(keys: readonly string[], signature: Uint8Array, signed: Uint8Array<ArrayBuffer>): Promise<boolean> {
  for (const pem of keys) {
    const { spki, curve } = readPublicKey(pem);
    const raw = derToRaw(signature, curve.bytes);
    if (!raw) continue;
    const algorithm = { name: 'ECDSA', namedCurve: curve.namedCurve, hash: curve.hash } as const;
    const key = await crypto.subtle.importKey('spki', spki, algorithm, false, ['verify']);
    if (await crypto.subtle.verify(algorithm, key, raw, signed)) return true;
  }
  return false;
}

/** @throws {NearfarError} `invalid-argument` */
export function readPublicKey(pem: string): { spki: Uint8Array<ArrayBuffer>; curve: (typeof curves)[number] } {
  const [, body] = /-----BEGIN PUBLIC KEY-----([\s\S]+?)-----END PUBLIC KEY-----/.exec(pem) ?? [];
  const spki = body === undefined ? undefined : decodeBase64(body);
  if (!spki) throw new NearfarError('invalid-argument', 'a trusted key is PEM that begins with -----BEGIN PUBLIC KEY-----');
  const hex = Array.from(spki.subarray(0, 40), (byte) => byte.toString(16).padStart(2, '0')).join('');
  const curve = curves.find(({ oid }) => hex.includes(oid));
  if (curve) return { spki, curve };
  throw new NearfarError('unsupported', 'a trusted key is none of an elliptic curve P-256, P-384 or P-521');
}

/** `SEQUENCE { r INTEGER, s INTEGER }` as the two numbers side by side, which WebCrypto takes; undefined where it is not that. */
function derToRaw(der: Uint8Array, size: number): Uint8Array<ArrayBuffer> | undefined {
  // A sequence of 128 bytes or more has one more byte for its length.
  let position = der[1] === 0x81 ? 3 : 2;
  if (der[0] !== 0x30 || der[position - 1] !== der.byteLength - position) return undefined;
  const raw = new Uint8Array(2 * size);
  for (const end of [size, 2 * size]) {
    const length = der[position + 1] ?? 0;
    const number = der.subarray(position + 2, position + 2 + length);
    const digits = number[0] === 0 ? number.subarray(1) : number;
    if (der[position] !== 0x02 || number.byteLength !== length || digits.byteLength > size) return undefined;
    raw.set(digits, end - digits.byteLength);
    position += 2 + length;
  }
  return position === der.byteLength ? raw : undefined;
}

import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto';
import { encodeSignature, encodeStatement, NearfarError, readPublicKey, type SignedManifest } from '../core/index.ts';

/** Makes manifest.sig of a manifest. */
export type SignManifest = (signed: SignedManifest) => Promise<Uint8Array<ArrayBuffer>>;

/** The name that the digest of a curve has in OpenSSL. */
const digests = { 'SHA-256': 'sha256', 'SHA-384': 'sha384', 'SHA-512': 'sha512' } as const;

/**
 * Opens a private key for signing.
 * @param pem A private key of P-256, P-384 or P-521 in PEM, not encrypted.
 * @throws {NearfarError} `invalid-argument` for what is no such key, `unsupported` for another kind of key.
 */
export function openSigner(pem: string | Uint8Array): SignManifest {
  const key = readPrivateKey(pem);
  const publicPem = createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString();
  const { curve } = readPublicKey(publicPem);
  const keyHint = createHash('sha256').update(publicPem).digest('hex');
  return async (signed) => {
    const { payload, toSign } = await encodeStatement(signed);
    return encodeSignature(payload, sign(digests[curve.hash], toSign, { key, dsaEncoding: 'der' }), keyHint);
  };
}

function readPrivateKey(pem: string | Uint8Array): KeyObject {
  try {
    return createPrivateKey(typeof pem === 'string' ? pem : Buffer.from(pem));
  } catch (cause) {
    throw new NearfarError('invalid-argument', `the signing key cannot be read: ${cause instanceof Error ? cause.message : cause}`, {
      cause,
    });
  }
}

import { generateKeyPairSync } from 'node:crypto';

/** A new pair of keys that can sign manifests, as PEM. */
export function keyPair(namedCurve = 'P-256'): { privateKey: string; publicKey: string } {
  const keys = generateKeyPairSync('ec', { namedCurve });
  return {
    privateKey: keys.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicKey: keys.publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  };
}

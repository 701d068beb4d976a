import { generateKeyPairSync } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { digestOf, type Manifest, parseManifest, verifySignature } from '../../src/core/index.ts';
import { publish, verify } from '../../src/publish/index.ts';
import { keyPair } from '../support/keys.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { scalingModel } from '../support/onnx-writer.ts';

const { privateKey, publicKey } = keyPair();

describe('a signed version', () => {
  let signature: Uint8Array;
  let manifest: Manifest;
  let digest: string;

  beforeAll(async () => {
    await using repository = await openSigned(privateKey);
    const manifestBytes = new Uint8Array(await readFile(join(repository.version, 'manifest.json')));
    manifest = parseManifest(manifestBytes);
    digest = await digestOf(manifestBytes);
    signature = await readFile(join(repository.version, 'manifest.sig'));
  });

  test('is accepted by its key, alone or among others', async () => {
    await verifySignature(signature, { manifest, digest }, [publicKey]);
    await verifySignature(signature, { manifest, digest }, [keyPair('P-384').publicKey, keyPair().publicKey, publicKey]);
  });

  test('is refused by another key', async () => {
    const checking = verifySignature(signature, { manifest, digest }, [keyPair().publicKey]);

    await expect(checking).rejects.toMatchObject({ code: 'signature-invalid', details: { digest } });
  });

  test('is refused for another manifest, and for one that names another file', async () => {
    const other = `sha256:${'0'.repeat(64)}`;
    const [path = '', file] = Object.entries(manifest.files)[0] ?? [];
    const changed = { ...manifest, files: { ...manifest.files, [path]: { ...file!, digest: other } } };

    await expect(verifySignature(signature, { manifest, digest: other }, [publicKey])).rejects.toMatchObject({
      message: expect.stringContaining('another manifest.json'),
    });
    await expect(verifySignature(signature, { manifest: changed, digest }, [publicKey])).rejects.toMatchObject({
      message: expect.stringContaining(`another ${path}`),
    });
  });

  test('is refused with any bit of its payload or signature changed', async () => {
    const bundle = JSON.parse(new TextDecoder().decode(signature));
    const { payload, signatures } = bundle.dsseEnvelope;
    const flip = (base64: string, bit: number) => {
      const bytes = Buffer.from(base64, 'base64');
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      return bytes.toString('base64');
    };
    for (let bit = 3; bit < 8 * 64; bit += 61) {
      const damaged = [
        { ...bundle, dsseEnvelope: { ...bundle.dsseEnvelope, payload: flip(payload, bit) } },
        { ...bundle, dsseEnvelope: { ...bundle.dsseEnvelope, signatures: [{ ...signatures[0], sig: flip(signatures[0].sig, bit) }] } },
      ];
      for (const each of damaged) {
        const checking = verifySignature(new TextEncoder().encode(JSON.stringify(each)), { manifest, digest }, [publicKey]);
        await expect(checking).rejects.toMatchObject({ code: 'signature-invalid' });
      }
    }
  });

  test.each(['', '{}', '[]', '{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}'])('is refused as %j', async (text) => {
    const checking = verifySignature(new TextEncoder().encode(text), { manifest, digest }, [publicKey]);

    await expect(checking).rejects.toMatchObject({ code: 'signature-invalid' });
  });
});

test.each(['P-256', 'P-384', 'P-521'])('keys of %s sign and verify', async (curve) => {
  const keys = keyPair(curve);
  await using repository = await openSigned(keys.privateKey);

  const { pin } = await verify(repository.path, 'scale', '1', { trust: [keys.publicKey] });

  expect(pin.version).toBe('1');
});

test('verify with a trusted key refuses a version without a signature', async () => {
  await using repository = await openSigned(privateKey);
  await rm(join(repository.version, 'manifest.sig'));

  const checking = verify(repository.path, 'scale', '1', { trust: [publicKey] });

  await expect(checking).rejects.toMatchObject({ code: 'signature-invalid', message: expect.stringContaining('is not signed') });
});

test('the signature is no part of the digest', async () => {
  await using signed = await openSigned(privateKey);
  await using plain = await openSigned(undefined);

  expect(signed.digest).toBe(plain.digest);
});

test('a key of another kind, and what is no key, publish nothing', async () => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();

  await expect(openSigned(rsa)).rejects.toMatchObject({ code: 'unsupported' });
  await expect(openSigned('no key')).rejects.toMatchObject({ code: 'invalid-argument' });
});

async function openSigned(signingKey: string | undefined) {
  const folder = await openTempFolder();
  const source = join(folder.path, 'model.onnx');
  await writeFile(source, scalingModel(2));
  const { pin } = await publish([source], { name: 'scale', repository: folder.path, signingKey });
  return { ...folder, version: join(folder.path, 'scale/1'), digest: pin.digest };
}

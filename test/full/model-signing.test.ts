import { spawnSync } from 'node:child_process';
import { appendFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { publish } from '../../src/publish/index.ts';
import { keyPair } from '../support/keys.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { scalingModel } from '../support/onnx-writer.ts';

// The verifier of OpenSSF itself: `pip install model-signing`, in the Python that NEARFAR_PYTHON names.

const python = process.env['NEARFAR_PYTHON'] ?? 'python3';
const isThere = spawnSync(python, ['-c', 'import model_signing.verifying']).status === 0;
if (!isThere) console.warn(`skipping the verifier of OpenSSF: ${python} has no model_signing`);

test.runIf(isThere)('the verifier of OpenSSF Model Signing accepts a signed version, and no changed one', async () => {
  await using folder = await openTempFolder();
  const { privateKey, publicKey } = keyPair();
  const [source, key, version] = ['model.onnx', 'key.pem', 'scale/1'].map((name) => join(folder.path, name)) as [string, string, string];
  await writeFile(source, scalingModel(2));
  await writeFile(key, publicKey);
  await publish([source], { name: 'scale', repository: folder.path, signingKey: privateKey });
  const verify = () =>
    spawnSync(
      python,
      ['-m', 'model_signing', 'verify', 'key', version, '--signature', join(version, 'manifest.sig'), '--public_key', key],
      {
        encoding: 'utf8',
      },
    );

  const good = verify();
  await appendFile(join(version, 'onnx/model.onnx'), '!');
  const changed = verify();

  expect(good.stdout + good.stderr).toContain('Verification succeeded');
  expect(changed.status).not.toBe(0);
});

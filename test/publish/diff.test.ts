import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { locateTfjsWeights, parseTfjsGraphModel } from '../../src/core/index.ts';
import { connectRepository, diffVersions, publish } from '../../src/publish/index.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { sharedData } from '../support/shared-data.ts';

const everyday10 = fileURLToPath(new URL('../../models/everyday10/1/tfjs', import.meta.url));

describe('a version whose last layer alone changed', () => {
  test('costs a client that has the old one the changed bytes and at most two chunks', async () => {
    await using folder = await openTempFolder();

    const { changedBytes, diff } = await publishWithNewHead(everyday10, folder.path);

    const [variant] = diff.common;
    expect(diff.signatures).toEqual({ added: [], removed: [], changed: [] });
    expect(variant?.tensors.changed).toHaveLength(1);
    expect(variant?.changedTensorBytes).toBe(changedBytes);
    expect(variant?.fetchBytes).toBeGreaterThanOrEqual(changedBytes);
    expect(variant?.fetchBytes).toBeLessThanOrEqual(changedBytes + 2 * 2 ** 20);
  });

  test("of MobileNetV2 costs at most 1.1 times the head's bytes", async (context) => {
    const model = sharedData('tfjs/mobilenetv2-dq-graph');
    if (model === undefined) return context.skip('the shared data is absent');
    await using folder = await openTempFolder();

    const { changedBytes, diff } = await publishWithNewHead(model, folder.path);

    expect(diff.common.map(({ variant }) => variant)).toEqual(['tfjs-float32', 'onnx-float32']);
    for (const { variant, fetchBytes, totalBytes } of diff.common) {
      console.log(`head of ${changedBytes} bytes changed: a client fetches ${fetchBytes} of ${totalBytes} bytes of ${variant}`);
      expect(fetchBytes / changedBytes, variant).toBeLessThanOrEqual(1.1);
    }
  });
});

/** Publishes a GraphModel, and again with another kernel in its last layer. */
async function publishWithNewHead(model: string, folder: string) {
  const repository = join(folder, 'repository');
  const changed = join(folder, 'changed');
  await cp(model, changed, { recursive: true });
  const changedBytes = await changeHead(changed);
  await publish([model], { name: 'model', repository });
  await publish([changed], { name: 'model', repository });
  const diff = await diffVersions(connectRepository(repository), { name: 'model', version: '1' }, { name: 'model', version: '2' });
  return { changedBytes, diff };
}

/** Turns the signs of the last large weight, in the shards where it lies. */
async function changeHead(model: string): Promise<number> {
  const { weights, shards } = parseTfjsGraphModel(await readFile(join(model, 'model.json')));
  const contents = await Promise.all(shards.map((shard) => readFile(join(model, shard))));
  const joined = new Uint8Array(Buffer.concat(contents));
  const ranges = locateTfjsWeights(weights, joined);
  const head = ranges.findLast((_, index) => weights[index]!.shape.length === 2 && weights[index]!.shape.at(-1)! >= 10)!;
  for (let sign = head.start + 3; sign < head.end; sign += 4) joined[sign]! ^= 0x80;
  let start = 0;
  for (const [index, { byteLength }] of contents.entries()) {
    await writeFile(join(model, shards[index]!), joined.subarray(start, start + byteLength));
    start += byteLength;
  }
  return head.end - head.start;
}

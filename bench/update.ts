import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { emitPieces, replaceTensors } from '../src/core/formats/onnx/rewrite.ts';
import { publish } from '../src/publish/index.ts';
import { launchBrowser } from '../test/support/browser.ts';
import { createFaultyRepository } from '../test/support/fault-server.ts';
import { sharedData } from '../test/support/shared-data.ts';
import { type Bench, compare } from './measure.ts';
import type {} from './pages/visits.ts';
import { openPage, openSite } from './site.ts';

/** The classifier of MobileNetV2: 1280 features to 1000 classes, in float32. */
const headBytes = 1280 * 1000 * 4;

/** Bytes of MobileNetV2 on the wire when the next version has another head, against the bytes of the version, of which the head is 37 %. */
export const benchUpdate: Bench = async ({ report }) => {
  const source = sharedData('onnx/mobilenetv2-dq-fp32/model.onnx');
  if (source === undefined) return;
  const folder = await mkdtemp(join(tmpdir(), 'nearfar-bench-update-'));
  try {
    const first = new Uint8Array(await readFile(source));
    const name = 'mobilenetv2';
    for (const [version, bytes] of Object.entries({ 1: first, 2: trainHead(first) })) {
      const file = join(folder, `${version}.onnx`);
      await writeFile(file, bytes);
      await publish([file], { name, version, repository: join(folder, 'models') });
    }
    const repository = createFaultyRepository(join(folder, 'models'), '/models/');
    await using site = await openSite('visits.ts', { repository: folder }, { mounts: { '/models/': repository.handler } });
    await using browser = await launchBrowser();
    const page = await openPage(browser, site.origin);
    const bytesOf = async (version: string) => {
      repository.forget();
      await page.evaluate((options) => window.visits.download(options), { name, version });
      return repository.requests.reduce((sum, { bytes }) => sum + bytes, 0) / 1e6;
    };
    const reference = await bytesOf('1');
    const subject = await bytesOf('2');
    report(
      compare({ bench: 'update', case: `${name}, another head`, unit: 'MB', subject: 'update', reference: 'whole version' }, [
        { subject, reference },
      ]),
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};

/** The model with other weights in its head alone. */
function trainHead(model: Uint8Array): AsyncIterable<Uint8Array> {
  const pieces = replaceTensors(model, 'model', (tensor) => {
    if (tensor.byteLength < headBytes || tensor.byteLength > headBytes + 100) return undefined;
    const trained = tensor.slice();
    const start = trained.byteOffset + trained.byteLength - headBytes;
    // Its values lie last in the message; the sign bit is in the fourth byte of each.
    for (let byte = start + 3; byte < trained.byteLength; byte += 4) trained[byte]! ^= 0x80;
    return [trained];
  });
  return emitPieces(pieces, () => false).read();
}

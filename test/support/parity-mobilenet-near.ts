import { basename, dirname } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type AnyTensor, type BackendId, encodeImages, taskOf } from '../../src/core/index.ts';
import { launchBrowser, openTestPage, type TestBrowser, type TestPage } from './browser.ts';
import { type DifferenceTable, expectFrom, expectWithin, type Far, type FullAnswer, type OpenedLeg, openFar, openLeg } from './parity.ts';
import { expectAnswer, libraryOf, readPrepared } from './parity-mobilenet.ts';
import { expectedMobileNetV2, type ParityModel, publishMobileNetV2, type SharedPhoto } from './parity-models.ts';

// MobileNetV2 on the shared photos, near against far, for `npm test` and, with more photos on slow backends, for the full run.

export interface NearMobileNetV2 {
  /** Photos by backend of the browser. */
  readonly near: Readonly<Partial<Record<BackendId, readonly SharedPhoto[]>>>;
  /** Backends of the servers that the browser is compared with. */
  readonly far: readonly BackendId[];
  readonly table: DifferenceTable;
}

/** The shared photos in Chromium through the SDK, on each backend, and on real servers through the same SDK. */
export function describeNearMobileNetV2({ near, far, table }: NearMobileNetV2): void {
  const photos = [
    ...new Map(
      Object.values(near)
        .flat()
        .map((photo) => [photo.name, photo]),
    ).values(),
  ];
  describe.skipIf(photos.length === 0)('MobileNetV2', () => {
    let browser: TestBrowser;
    let tab: TestPage;
    let model: ParityModel;
    const servers: Far[] = [];
    const answers = new Map<string, ReadonlyMap<string, FullAnswer>>();

    beforeAll(async () => {
      const published = await publishMobileNetV2();
      if (!published) throw new Error('the shared data is absent');
      model = published;
      browser = await launchBrowser();
      const mounts = { '/models/': model.repository, '/photos/': dirname(photos[0]?.photo ?? '') };
      tab = await openTestPage(browser, { mounts });
      for (const backend of far) servers.push(await openFar(model.repository, backend));
    });
    afterAll(async () => {
      for (const server of servers) await server[Symbol.asyncDispose]();
      await tab?.[Symbol.asyncDispose]();
      await browser?.[Symbol.asyncDispose]();
    });

    const classify = async (leg: OpenedLeg, chosen: readonly SharedPhoto[]) => {
      const found = await leg.classify(chosen.map(({ photo }) => `/photos/${basename(photo)}`));
      return new Map(chosen.map(({ name }, index) => [name, found[index]!])); // an answer per photo
    };

    test.each(far)('%s on a server, asked by the SDK: every photo has the expected best class and probabilities', async (backend) => {
      const server = servers.find((each) => each.backend === backend);
      const expected = expectedMobileNetV2(libraryOf(backend));

      await using leg = await openLeg(tab.page, model, { server: server?.url ?? '' });
      const found = await classify(leg, photos);

      answers.set(backend, found);
      for (const [photo, answer] of found) {
        expectFrom(answer, model, 'server', backend);
        expectAnswer(answer, expected.get(photo), model, photo);
      }
    });

    for (const [backend, chosen] of Object.entries(near) as [BackendId, readonly SharedPhoto[]][]) {
      test(`${backend} in Chromium: ${chosen.length} photos have the expected best class and probabilities, and those of the servers`, async () => {
        const expected = expectedMobileNetV2(libraryOf(backend));

        await using leg = await openLeg(tab.page, model, { backend });
        const found = await classify(leg, chosen);

        for (const [photo, answer] of found) {
          expectFrom(answer, model, 'on-device', backend);
          table.add(
            `MobileNetV2: ${backend} (Chromium) to ${libraryOf(backend)} expected`,
            expectAnswer(answer, expected.get(photo), model, photo),
          );
          for (const server of far) {
            const distant = answers.get(server)?.get(photo);
            if (!distant) throw new Error(`${server} gave no answer for ${photo}`);
            expect(answer.top, photo).toEqual(distant.top);
            table.add(
              `MobileNetV2: ${backend} (Chromium) to ${server} (server)`,
              expectWithin(answer.scores, distant.scores, model, answer.variant, photo),
            );
          }
        }
      });
    }

    test('tensors made from the pixels Pillow prepared give the same probabilities as the whole path, near and far', async () => {
      const [photo] = photos;
      if (!photo) return;
      const { input, output } = taskOf(model.manifest, 'image-classification');
      const tensor = encodeImages([await readPrepared(photo)], input);
      const legs = [{ backend: 'tfjs-wasm' } as const, ...servers.map(({ url }) => ({ server: url }))];

      for (const each of legs) {
        await using leg = await openLeg(tab.page, model, each);
        const [whole] = (await classify(leg, [photo])).values();
        const exact = await leg.predict({ [input.name]: tensor }, output.name);

        expect(flat(exact)).toEqual(whole?.scores);
      }
    });
  });
}

function flat(tensor: AnyTensor): AnyTensor {
  return { ...tensor, shape: [tensor.data.length] };
}

import { launchBrowser } from '../test/support/browser.ts';
import { type Bench, compare, measurePairs } from './measure.ts';
import { allModels, type BenchModel } from './models.ts';
import type { FirstAnswer, NearfarTask } from './pages/nearfar.ts';
import { startProcess } from './process.ts';
import { openSite, runPage } from './site.ts';
import { openSlowLink } from './slow-link.ts';

/** Rate of the slow link, in each direction. */
const megabitsPerSecond = 10;

/**
 * A page opened in a fresh profile, from the beginning of the navigation to the first answer: with a server that may
 * answer while the model downloads, against the device alone. Once on loopback, once with the page, its scripts, the model
 * and the server behind one slow link.
 */
export const benchFirstAnswer: Bench = async ({ pairs, report }) => {
  for (const model of await allModels()) {
    const { name } = model.manifest;
    await using sides = await openSides(model);
    const compareOn = async (link: string, count: number, page: string, server: string) => {
      const measured = await measurePairs(
        count,
        () => firstAnswer(page, { name, lock: model.lock, server }),
        () => firstAnswer(page, { name, lock: model.lock }),
      );
      const about = { bench: 'first-answer', case: `${name}, ${link}`, unit: 'ms' } as const;
      report(compare({ ...about, subject: 'with server', reference: 'device alone' }, measured));
    };
    await compareOn('loopback', pairs ?? 5, sides.page, sides.server);
    await compareOn(`${megabitsPerSecond} Mbit/s`, pairs ?? 3, sides.slowPage, sides.slowServer);
  }
};

async function openSides(model: BenchModel) {
  const open: AsyncDisposable[] = [];
  const close = async () => {
    for (const each of open.reverse()) await each[Symbol.asyncDispose]();
  };
  const keep = <T extends AsyncDisposable>(each: T): T => {
    open.push(each);
    return each;
  };
  try {
    const site = keep(await openSite('nearfar.ts', model));
    const options = { modelsRoot: model.repository, backends: ['onnx-cpu'], grpcPort: 'off' };
    const { ready } = keep(await startProcess<object, object, { rest: string }>('server.mjs', options));
    const link = keep(await openSlowLink([site.origin, ready.rest], megabitsPerSecond));
    const [slowPage = '', slowServer = ''] = link.origins;
    return { page: site.origin, server: ready.rest, slowPage, slowServer, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function firstAnswer(page: string, task: NearfarTask): Promise<number> {
  await using browser = await launchBrowser();
  const { ms, run } = await runPage<FirstAnswer>(browser, page, task);
  if (task.server === undefined && run.leg !== 'on-device') throw new Error(`the ${run.leg} answered`);
  return ms;
}

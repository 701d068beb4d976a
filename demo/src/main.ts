import { showAnswer, showNoAnswer } from './answer.ts';
import { showCache, showNoCache, watchCacheButtons } from './cache-panel.ts';
import { watchChoices } from './choices.ts';
import { compareLegs } from './compare.ts';
import { create, element, messageOf } from './dom.ts';
import { showLosable } from './faults.ts';
import { watchPhotos } from './photo.ts';
import { resetPreparation, showDownload, showPhase, showPreparationNote } from './preparation.ts';
import { samples } from './samples.ts';
import { type Choice, Session } from './session.ts';
import { registerServiceWorker } from './trusted-urls.ts';

let photo: Blob | undefined;
let isServerCut = false;
let isFirstSwitch = true;

const session = new Session({
  onDownload: showDownload,
  onEvent: (type, detail) => {
    if ('phase' in detail) showPhase(detail.phase);
    else log(type, 'from' in detail ? `${detail.from}: ${detail.reason}` : detail.reason);
    if ('phase' in detail && detail.phase === 'ready') {
      showLosable(choice.mode, detail.backend);
      void showCache(session.client).catch(logProblem);
    }
    if (type === 'device-lost') showLosable(choice.mode, undefined);
    if (type === 'switch') void answerAgain().catch(report);
  },
});

let choice = await watchChoices((changed) => {
  choice = changed;
  void open(changed).then(classify).catch(report);
});

watchPhotos(
  (chosen) => {
    photo = chosen;
    void classify().catch(report);
  },
  (problem) => log('photo', problem),
);
watchCacheButtons(() => session.client, logProblem);
watchFaults();
onClick('compare', async () => {
  if (photo) await compareLegs(session, choice, photo).catch(logProblem);
});
watchNetwork();

await open(choice).catch(report);
await classifyFirstSample();
if ('serviceWorker' in navigator) await registerServiceWorker().catch(logProblem);

async function open(next: Choice): Promise<void> {
  resetPreparation();
  isFirstSwitch = true;
  showLosable(next.mode, undefined);
  if (next.mode === 'only-server') {
    showPreparationNote('Nothing is downloaded: the server answers.');
    showNoCache();
  }
  await session.open(next);
}

async function classify(): Promise<void> {
  if (!photo) return;
  const model = await session.model;
  const { predictions, run } = await model.classify(photo, { topK: 5 });
  showAnswer(predictions, run);
  log('run', `${run.leg}, ${run.engine} ${run.backend}, ${run.timing.totalMs.toFixed(1)} ms`);
}

/** When the device takes over from the server, the visitor sees it; later switches follow a fault, whose answer is to stay in view. */
async function answerAgain(): Promise<void> {
  if (isFirstSwitch) await classify();
  isFirstSwitch = false;
}

/** Something to look at right away: the page opens with an answer. */
async function classifyFirstSample(): Promise<void> {
  const first = samples[0];
  if (first) document.querySelector<HTMLButtonElement>(`button[data-sample="${first.name}"]`)?.click();
}

function watchFaults(): void {
  const lose = element('lose-gpu', HTMLButtonElement);
  // Not by onClick: whether the button can be pressed again is for the device to say.
  lose.addEventListener('click', async () => {
    lose.disabled = true;
    try {
      await (await session.model).faults.loseDevice();
      log('fault', 'the device was lost');
    } catch (error) {
      logProblem(error);
      return;
    }
    await classify().catch(report);
  });
  onClick('cut-server', async () => {
    isServerCut = !isServerCut;
    const button = element('cut-server', HTMLButtonElement);
    button.setAttribute('aria-pressed', String(isServerCut));
    button.textContent = isServerCut ? 'Connect the server' : 'Cut the server';
    await session.cutServer(isServerCut);
    log('fault', isServerCut ? 'the server was cut' : 'the server is back');
    await classify();
  });
}

function watchNetwork(): void {
  const show = () => {
    element('network', HTMLParagraphElement).textContent = navigator.onLine ? '' : 'Offline: this device answers alone.';
  };
  addEventListener('online', show);
  addEventListener('offline', show);
  show();
}

function onClick(id: string, action: () => Promise<void>): void {
  const button = element(id, HTMLButtonElement);
  button.addEventListener('click', async () => {
    button.disabled = true;
    await action().catch(report);
    button.disabled = false;
  });
}

function log(type: string, text: string): void {
  const list = element('log', HTMLOListElement);
  list.prepend(create('li', {}, create('b', {}, type), text));
  while (list.childElementCount > 50) list.lastElementChild?.remove();
}

/** For what went wrong beside the answer, which stays. */
function logProblem(error: unknown): void {
  log('error', messageOf(error));
}

function report(error: unknown): void {
  // A newer choice ended the opening of the one before: the newer one tells how it goes.
  if (error instanceof DOMException && error.name === 'AbortError') return;
  logProblem(error);
  showNoAnswer(messageOf(error));
}

import { NearfarError } from 'nearfar';
import { showAnswer } from './answer.ts';
import { showCache, watchCacheButtons } from './cache-panel.ts';
import { watchChoices } from './choices.ts';
import { compareLegs } from './compare.ts';
import { create, element } from './dom.ts';
import { watchPhotos } from './photo.ts';
import { resetPreparation, showDownload, showPhase, showPreparationNote } from './preparation.ts';
import { samples } from './samples.ts';
import { type Choice, Session } from './session.ts';

let photo: Blob | undefined;
let isServerCut = false;
let isFirstSwitch = true;

const session = new Session({
  onDownload: showDownload,
  onEvent: (type, detail) => {
    if ('phase' in detail) showPhase(detail.phase);
    else log(type, 'from' in detail ? `${detail.from}: ${detail.reason}` : detail.reason);
    if ('phase' in detail && detail.phase === 'ready') void showCache(session.client).catch(report);
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
watchCacheButtons(() => session.client, report);
watchFaults();
onClick('compare', async () => {
  if (photo) await compareLegs(session, choice, photo);
});
watchNetwork();

await open(choice).catch(report);
await classifyFirstSample();
if ('serviceWorker' in navigator) await navigator.serviceWorker.register('./service-worker.js').catch(report);

async function open(next: Choice): Promise<void> {
  resetPreparation();
  isFirstSwitch = true;
  if (next.mode === 'only-server') showPreparationNote('Nothing is downloaded: the server answers.');
  const model = await session.open(next);
  model.faults.cutServer(isServerCut);
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
  onClick('lose-gpu', async () => {
    await (await session.model).faults.loseDevice();
    log('fault', 'the device was lost');
    await classify();
  });
  onClick('cut-server', async () => {
    isServerCut = !isServerCut;
    const button = element('cut-server', HTMLButtonElement);
    button.setAttribute('aria-pressed', String(isServerCut));
    button.textContent = isServerCut ? 'Connect the server' : 'Cut the server';
    (await session.model).faults.cutServer(isServerCut);
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

function report(error: unknown): void {
  // A newer choice ended the opening of the one before: the newer one tells how it goes.
  if (error instanceof DOMException && error.name === 'AbortError') return;
  const text = error instanceof NearfarError ? `${error.code}: ${error.message}` : String(error);
  log('error', text);
  const badge = element('badge', HTMLParagraphElement);
  badge.replaceChildren(create('span', { className: 'leg' }, 'no answer'), create('span', { className: 'detail' }, text));
}

import type { Classification, RunReport } from 'nearfar';
import { create, element } from './dom.ts';

const legNames = { 'on-device': 'near: on this device', server: 'far: on the server' } as const;

/** Draws one answer: badge, bars, the reason of a fallback, the timing bar and the facts of the run. */
export function showAnswer(predictions: readonly Classification[], run: RunReport): void {
  element('badge', HTMLParagraphElement).replaceChildren(
    legBadge(run.leg),
    create(
      'span',
      { className: 'detail' },
      `${run.engine} ${run.backend} · ${run.model} version ${run.version} · ${run.digest.slice(0, 19)}…`,
    ),
  );
  document.querySelector<HTMLElement>('.answer')?.setAttribute('data-leg', run.leg);
  element('bars', HTMLOListElement).replaceChildren(...predictions.map(bar));
  showFallback(run);
  showTiming(run);
  showFacts(run);
}

/** In place of an answer: why there is none; the bars of an earlier one would pass for its own. */
export function showNoAnswer(text: string): void {
  element('badge', HTMLParagraphElement).replaceChildren(
    create('span', { className: 'leg' }, 'no answer'),
    create('span', { className: 'detail' }, text),
  );
  document.querySelector<HTMLElement>('.answer')?.removeAttribute('data-leg');
  for (const id of ['bars', 'timing', 'facts']) element(id, HTMLElement).replaceChildren();
  element('fallback', HTMLParagraphElement).hidden = true;
}

function legBadge(leg: RunReport['leg']): HTMLElement {
  const badge = create('span', { className: 'leg' }, legNames[leg]);
  badge.dataset['leg'] = leg;
  return badge;
}

function bar({ label, score }: Classification): HTMLLIElement {
  const fill = create('div', { className: 'fill' });
  fill.style.width = `${(score * 100).toFixed(2)}%`;
  return create(
    'li',
    {},
    create('span', { className: 'label', title: label }, label),
    create('span', { className: 'track' }, fill),
    create('span', { className: 'score' }, `${(score * 100).toFixed(1)} %`),
  );
}

function showFallback({ fallback }: RunReport): void {
  const note = element('fallback', HTMLParagraphElement);
  note.hidden = !fallback;
  note.textContent = fallback ? `Not by ${fallback.from} (${fallback.code}): ${fallback.message}` : '';
}

function showTiming({ timing }: RunReport): void {
  const { queueMs, preprocessMs, inferMs, postprocessMs, totalMs } = timing;
  const restMs = Math.max(0, totalMs - queueMs - preprocessMs - inferMs - postprocessMs);
  const parts = Object.entries({ preprocess: preprocessMs, queue: queueMs, infer: inferMs, postprocess: postprocessMs, rest: restMs });
  const timingBar = element('timing', HTMLDivElement);
  timingBar.replaceChildren(
    ...parts.map(([name, ms]) => {
      const part = create('span', { className: `t-${name}`, title: `${name} ${ms.toFixed(1)} ms` });
      part.style.flexGrow = String(ms);
      return part;
    }),
  );
  timingBar.setAttribute('aria-label', parts.map(([name, ms]) => `${name} ${ms.toFixed(1)} ms`).join(', '));
}

function showFacts(run: RunReport): void {
  const { timing } = run;
  const swatch = (name: string, text: string) => create('span', {}, create('span', { className: `swatch t-${name}` }), text);
  const facts: [string, Node | string][] = [
    ['Total', `${timing.totalMs.toFixed(1)} ms`],
    [
      'Of it',
      create(
        'span',
        {},
        swatch('preprocess', `preprocess ${timing.preprocessMs.toFixed(1)} ms `),
        swatch('queue', `queue ${timing.queueMs.toFixed(1)} ms `),
        swatch('infer', `infer ${timing.inferMs.toFixed(1)} ms `),
        swatch('postprocess', `postprocess ${timing.postprocessMs.toFixed(1)} ms `),
        swatch('rest', 'transfer and waiting: the rest'),
      ),
    ],
    ['Engine', `${run.engine} on ${run.backend}, variant ${run.variant}`],
    ['Cache', run.cache],
    ['Digest', run.digest],
  ];
  element('facts', HTMLDListElement).replaceChildren(...facts.flatMap(([term, text]) => [create('dt', {}, term), create('dd', {}, text)]));
}

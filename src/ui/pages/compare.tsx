import { useSignal } from '@preact/signals';
import { useMemo } from 'preact/hooks';
import type { NearfarError } from '../../core/index.ts';
import { toNearfarError } from '../api/index.ts';
import { useApp } from '../context.ts';
import { Empty, Failure, formatNumber, Waiting } from '../parts/index.ts';
import { hrefOf } from '../route.ts';
import { AnswerView, askVersion, differencesOf, type Question, QuestionForm, type VersionAnswer } from '../try/index.ts';
import { availableOf, ModelCrumbs, useManifest, VersionChoice } from './version-choice.tsx';

type Side = { readonly answer: VersionAnswer } | { readonly error: NearfarError };

interface Comparison {
  readonly a: Side;
  readonly b: Side;
  readonly picture: Blob | undefined;
}

/** Asks two versions the same, and shows how far apart their answers are. */
export function ComparePage({ name }: { readonly name: string }) {
  const { live, route } = useApp();
  const model = live.models.value?.find((each) => each.name === name);
  const available = availableOf(model);
  const pick = (key: 'a' | 'b', otherwise: string | undefined) =>
    available.find(({ version }) => version === route.value.query.get(key))?.version ?? otherwise;
  const a = pick('a', model?.labels['stable'] ?? available.at(-1)?.version);
  const b = pick('b', available.find(({ version }) => version !== a)?.version);
  const [{ value: manifest, error: unreadable }, again] = useManifest(name, a);
  const comparison = useSignal<Comparison | undefined>(undefined);
  const isBusy = useSignal(false);
  const ask = async (question: Question, picture: Blob | undefined) => {
    if (a === undefined || b === undefined) return;
    isBusy.value = true;
    const side = (version: string) =>
      askVersion(name, version, question).then(
        (answer): Side => ({ answer }),
        (cause): Side => ({ error: toNearfarError(cause) }),
      );
    const [ofA, ofB] = await Promise.all([side(a), side(b)]);
    comparison.value = { a: ofA, b: ofB, picture };
    isBusy.value = false;
  };
  const choose = (versions: { a?: string | undefined; b?: string | undefined }) => {
    comparison.value = undefined;
    location.hash = hrefOf(['models', name, 'compare'], { a, b, ...versions });
  };
  return (
    <>
      <ModelCrumbs name={name} />
      <div class="title">
        <h1>Compare versions of {name}</h1>
        {model && a !== undefined && b !== undefined && (
          <p class="row">
            <VersionChoice name="One" model={model} value={a} choose={(version) => choose({ a: version })} />
            <VersionChoice name="The other" model={model} value={b} choose={(version) => choose({ b: version })} />
          </p>
        )}
      </div>
      {live.models.value === undefined && <Waiting what="the model" />}
      {live.models.value && b === undefined && (
        <Empty icon="compare" title="Two versions are needed">
          <a href={hrefOf(['models', name])}>Load another version of {name}</a> beside the one that answers.
        </Empty>
      )}
      {unreadable && <Failure error={unreadable} retry={again} />}
      {manifest && b !== undefined && (
        <section aria-labelledby="question">
          <h2 id="question">Question to both</h2>
          <QuestionForm
            key={`${name} ${a}`}
            manifest={manifest}
            verb="Ask both"
            isBusy={isBusy.value}
            ask={(...asking) => void ask(...asking)}
          />
        </section>
      )}
      {comparison.value && <Result comparison={comparison.value} a={a ?? ''} b={b ?? ''} />}
    </>
  );
}

function Result({
  comparison: { a, b, picture },
  a: versionA,
  b: versionB,
}: {
  readonly comparison: Comparison;
  readonly a: string;
  readonly b: string;
}) {
  return (
    <>
      {'answer' in a && 'answer' in b && <Differences a={a.answer} b={b.answer} />}
      <div class="columns">
        <SideView side={a} version={versionA} picture={picture} />
        <SideView side={b} version={versionB} picture={picture} />
      </div>
    </>
  );
}

function SideView({ side, version, picture }: { readonly side: Side; readonly version: string; readonly picture: Blob | undefined }) {
  return (
    <section aria-label={`Version ${version}`}>
      <h2>Version {version}</h2>
      {'answer' in side ? <AnswerView answer={side.answer} picture={picture} /> : <Failure error={side.error} />}
    </section>
  );
}

const mostShown = 6;

function Differences({ a, b }: { readonly a: VersionAnswer; readonly b: VersionAnswer }) {
  const differences = useMemo(() => differencesOf(a.outcome, b.outcome), [a, b]);
  const [largest] = differences;
  const differing = differences.filter(({ by }) => by !== 0);
  const show = (value: string | number) => (typeof value === 'number' ? formatNumber(value) : value);
  return (
    <section aria-labelledby="differences" aria-live="polite">
      <h2 id="differences">
        {differing.length === 0
          ? 'The answers are the same'
          : largest?.by === undefined
            ? 'The answers are of different kinds'
            : `Largest difference ${formatNumber(largest.by)} at ${largest.name}`}
      </h2>
      {differing.length > 0 && (
        <>
          <table>
            <thead>
              <tr>
                <th>Where</th>
                <th class="right">Version {a.version}</th>
                <th class="right">Version {b.version}</th>
                <th class="right">Apart</th>
              </tr>
            </thead>
            <tbody>
              {differing.slice(0, mostShown).map(({ name, a: one, b: other, by }) => (
                <tr key={name}>
                  <th scope="row">{name}</th>
                  <td class="right">{show(one)}</td>
                  <td class="right">{show(other)}</td>
                  <td class="right">{by === undefined ? '–' : formatNumber(by)}</td>
                </tr>
              ))}
            </tbody>
          </table>
          {differing.length > mostShown && (
            <p class="soft small">
              {differing.length} of {differences.length} values differ; these are the furthest apart.
            </p>
          )}
        </>
      )}
    </section>
  );
}

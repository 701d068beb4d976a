import { useSignal } from '@preact/signals';
import type { NearfarError } from '../../core/index.ts';
import { toNearfarError } from '../api/index.ts';
import { useApp } from '../context.ts';
import { Empty, Failure, Waiting } from '../parts/index.ts';
import { hrefOf } from '../route.ts';
import { AnswerView, askVersion, type Question, QuestionForm, type VersionAnswer } from '../try/index.ts';
import { availableOf, ModelCrumbs, NoVersion, useManifest, VersionChoice } from './version-choice.tsx';

/** Asks one version, by a form made of what it takes. */
export function TryPage({ name }: { readonly name: string }) {
  const { live, route } = useApp();
  const model = live.models.value?.find((each) => each.name === name);
  const available = availableOf(model);
  const asked = route.value.query.get('version');
  const version = available.find((each) => each.version === asked)?.version ?? model?.labels['stable'] ?? available[0]?.version;
  const [{ value: manifest, error: unreadable }, again] = useManifest(name, version);
  const answer = useSignal<{ answer: VersionAnswer; picture: Blob | undefined } | undefined>(undefined);
  const error = useSignal<NearfarError | undefined>(undefined);
  const isBusy = useSignal(false);
  const ask = async (question: Question, picture: Blob | undefined) => {
    if (version === undefined) return;
    isBusy.value = true;
    error.value = undefined;
    try {
      answer.value = { answer: await askVersion(name, version, question), picture };
    } catch (cause) {
      answer.value = undefined;
      error.value = toNearfarError(cause);
    } finally {
      isBusy.value = false;
    }
  };
  return (
    <>
      <ModelCrumbs name={name} />
      <div class="title">
        <h1>Try {name}</h1>
        {model && version !== undefined && (
          <VersionChoice
            name="Version"
            model={model}
            value={version}
            choose={(chosen) => {
              location.hash = hrefOf(['models', name, 'try'], { version: chosen });
            }}
          />
        )}
      </div>
      {live.models.value === undefined && <Waiting what="the model" />}
      {live.models.value && available.length === 0 && <NoVersion name={name} />}
      {unreadable && <Failure error={unreadable} retry={again} />}
      {manifest && (
        <div class="columns">
          <section aria-labelledby="question">
            <h2 id="question">Question</h2>
            <QuestionForm
              key={`${name} ${version}`}
              manifest={manifest}
              verb="Ask"
              isBusy={isBusy.value}
              ask={(...asking) => void ask(...asking)}
            />
          </section>
          <section aria-labelledby="answer" aria-live="polite">
            <h2 id="answer">Answer</h2>
            {isBusy.value && <progress aria-label="The server is at it" />}
            {error.value && <Failure error={error.value} />}
            {answer.value && <AnswerView {...answer.value} />}
            {!answer.value && !error.value && !isBusy.value && (
              <Empty icon="play" title="Nothing was asked yet">
                Fill in the form and press <strong>Ask</strong>: version {version} answers here.
              </Empty>
            )}
          </section>
        </div>
      )}
    </>
  );
}

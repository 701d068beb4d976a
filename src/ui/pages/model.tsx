import type { ComponentChild } from 'preact';
import type { Versions } from '../../core/index.ts';
import { askJson, type ModelSummary, pathOf, useAsked, type VersionSummary } from '../api/index.ts';
import { useApp } from '../context.ts';
import { Empty, Icon, Shares, State, shortDigest, Waiting } from '../parts/index.ts';
import { hrefOf } from '../route.ts';
import { LabelDialog, LoadDialog, PromoteDialog, RemoveLabelDialog, RollbackDialog, TrafficDialog, UnloadDialog } from './actions.tsx';
import { Charts } from './charts.tsx';
import { FailureList } from './failures.tsx';
import { HistoryList } from './history.tsx';

/** One model: its versions, labels and shares, and what can be done with them. */
export function ModelPage({ name }: { readonly name: string }) {
  const { models } = useApp().live;
  const model = models.value?.find((each) => each.name === name);
  return (
    <>
      <Crumbs />
      <div class="title">
        <h1>{name}</h1>
        {model && (
          <p class="row">
            <a class="button" href={hrefOf(['models', name, 'try'])}>
              <Icon name="play" /> Try
            </a>
            <a class="button" href={hrefOf(['models', name, 'compare'])}>
              <Icon name="compare" /> Compare
            </a>
            <a class="button" href={hrefOf(['upload'], { model: name })}>
              <Icon name="upload" /> Upload a version
            </a>
          </p>
        )}
      </div>
      {models.value === undefined && <Waiting what="the model" />}
      {models.value !== undefined && !model && (
        <Empty icon="models" title={`The server has no model ${name}`}>
          <a href={hrefOf(['models'])}>All models</a>
        </Empty>
      )}
      {model && <Content model={model} />}
    </>
  );
}

function Crumbs() {
  return (
    <p class="crumbs">
      <a href={hrefOf(['models'])}>Models</a>
    </p>
  );
}

function Content({ model }: { readonly model: ModelSummary }) {
  const { dialog } = useApp();
  const open = (content: ComponentChild) => () => {
    dialog.value = content;
  };
  const labels = Object.entries(model.labels);
  return (
    <>
      <section aria-labelledby="versions">
        <h2 id="versions">Versions</h2>
        <VersionTable model={model} open={open} />
      </section>
      <div class="columns">
        <section aria-labelledby="labels">
          <h2 id="labels">Labels</h2>
          {labels.length === 0 && (
            <Empty icon="up" title="No labels">
              Promote a version to give it one, such as <code>stable</code>.
            </Empty>
          )}
          <ul class="plain rows">
            {labels.map(([label, version]) => (
              <li key={label}>
                <span>
                  <span class="label">{label}</span> version <strong>{version}</strong>
                </span>
                <span class="row end">
                  <button type="button" onClick={open(<RollbackDialog model={model} label={label} />)} aria-label={`Roll back ${label}`}>
                    <Icon name="back" /> Roll back
                  </button>
                  <button type="button" onClick={open(<LabelDialog model={model} label={label} />)} aria-label={`Move ${label}`}>
                    Move
                  </button>
                  <button
                    type="button"
                    class="quiet"
                    onClick={open(<RemoveLabelDialog model={model} label={label} />)}
                    aria-label={`Take ${label} away`}
                  >
                    <Icon name="close" />
                  </button>
                </span>
              </li>
            ))}
          </ul>
        </section>
        <section aria-labelledby="shares">
          <h2 id="shares">Shares of clients</h2>
          {model.traffic ? (
            <Shares traffic={model.traffic} labels={model.labels} />
          ) : (
            <p class="soft">None: who names no version gets the highest that is loaded, browsers get stable.</p>
          )}
          <p class="row">
            <button type="button" disabled={labels.length === 0} onClick={open(<TrafficDialog model={model} />)}>
              Change shares
            </button>
          </p>
        </section>
      </div>
      <section aria-labelledby="charts">
        <h2 id="charts">The last 15 minutes</h2>
        <Charts model={model.name} />
      </section>
      <div class="columns">
        <section aria-labelledby="changes">
          <div class="title">
            <h2 id="changes">Changes</h2>
            <a href={hrefOf(['history'], { model: model.name })}>All</a>
          </div>
          <HistoryList model={model.name} limit={6} />
        </section>
        <section aria-labelledby="failures">
          <div class="title">
            <h2 id="failures">Failures</h2>
            <a href={hrefOf(['failures'], { model: model.name })}>All</a>
          </div>
          <FailureList model={model.name} limit={6} />
        </section>
      </div>
    </>
  );
}

interface TableProps {
  readonly model: ModelSummary;
  readonly open: (content: ComponentChild) => () => void;
}

function VersionTable({ model, open }: TableProps) {
  const known = model.versions.map(({ version }) => version).join();
  // Versions that lie in the repository and are not loaded are those that can be.
  const [{ value: published }] = useAsked(
    (signal) => askJson<Versions>(pathOf('models', model.name, 'versions.json'), { signal }),
    [model.name, known],
  );
  const others = (published?.versions ?? [])
    .filter(({ version }) => !model.versions.some((each) => each.version === version))
    .map(({ version, digest }): VersionSummary => ({ version, digest, state: 'END', labels: [] }));
  // Each keeps its place whatever becomes of it: a row that moves away takes its buttons from under the hand.
  const rows = [...model.versions, ...others].toSorted((a, b) => Number(BigInt(b.version) - BigInt(a.version)));
  return (
    <table class="stacking">
      <thead>
        <tr>
          <th>Version</th>
          <th>State</th>
          <th>Labels</th>
          <th>Runs on</th>
          <th>Digest</th>
          <th>
            <span class="hidden">What can be done</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {rows.map((version) => (
          <VersionRow key={version.version} model={model} version={version} open={open} />
        ))}
      </tbody>
    </table>
  );
}

function VersionRow({ model, version: summary, open }: TableProps & { readonly version: VersionSummary }) {
  const { version, state, labels, backend, variant, digest, error } = summary;
  const isLoaded = state !== 'END';
  return (
    <tr>
      <th scope="row">
        <a href={hrefOf(['models', model.name, 'versions', version])} aria-label={`Version ${version}`}>
          {version}
        </a>
      </th>
      <td data-name="State">
        <div>
          <State version={summary} />
          {error && <p class="wrong small">{error}</p>}
        </div>
      </td>
      <td data-name="Labels">
        {labels.length > 0 && (
          <div class="row">
            {labels.map((label) => (
              <span key={label} class="label">
                {label}
              </span>
            ))}
          </div>
        )}
      </td>
      <td data-name="Runs on">
        {backend && (
          <div>
            {backend} <span class="soft small">{variant}</span>
          </div>
        )}
      </td>
      <td data-name="Digest">{digest && <code title={digest}>{shortDigest(digest)}</code>}</td>
      <td class="row end">
        {state === 'AVAILABLE' && !labels.includes('stable') && (
          <button
            type="button"
            class="primary"
            onClick={open(<PromoteDialog model={model} version={version} />)}
            aria-label={`Promote version ${version}`}
          >
            <Icon name="up" /> Promote
          </button>
        )}
        {isLoaded ? (
          <button type="button" onClick={open(<UnloadDialog model={model} version={version} />)} aria-label={`Unload version ${version}`}>
            Unload
          </button>
        ) : (
          <button type="button" onClick={open(<LoadDialog model={model} version={version} />)} aria-label={`Load version ${version}`}>
            Load
          </button>
        )}
      </td>
    </tr>
  );
}

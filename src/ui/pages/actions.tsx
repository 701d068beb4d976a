import { useSignal } from '@preact/signals';
import { askJson, type ModelSummary, pathOf } from '../api/index.ts';
import { useApp } from '../context.ts';
import { ActionDialog, State } from '../parts/index.ts';

// What can be changed, each with a dialog that says what will be so and waits until the server says that it is.

interface OfModel {
  readonly model: ModelSummary;
}

interface OfVersion extends OfModel {
  readonly version: string;
}

interface OfLabel extends OfModel {
  readonly label: string;
}

const modelPath = (model: ModelSummary, ...parts: string[]) => pathOf('nearfar', 'v1', 'models', model.name, ...parts);

/** Points a label at this version; a new label is named by its text. */
export function PromoteDialog({ model, version }: OfVersion) {
  const label = useSignal('stable');
  const from = model.labels[label.value];
  return (
    <ActionDialog
      title={`Promote version ${version}`}
      verb={from === version ? 'It is there already' : `Move ${label.value || 'the label'} here`}
      isReady={label.value !== '' && from !== version}
      act={(signal) => askJson(modelPath(model, 'labels', label.value), { method: 'PUT', json: { version }, signal })}
      done={`${label.value} of ${model.name} is version ${version} now.`}
    >
      <label class="field">
        Label
        <input
          value={label.value}
          list="known-labels"
          required
          onInput={({ currentTarget }) => (label.value = currentTarget.value.trim())}
        />
      </label>
      <datalist id="known-labels">
        {[...new Set(['stable', 'canary', ...Object.keys(model.labels)])].map((name) => (
          <option key={name} value={name} />
        ))}
      </datalist>
      <Move label={label.value} from={from} to={version} />
      <p class="soft">Who asks for the label gets this version from the next request on. Roll back undoes it.</p>
    </ActionDialog>
  );
}

export function LabelDialog({ model, label }: OfLabel) {
  const from = model.labels[label];
  const to = useSignal(from ?? '');
  return (
    <ActionDialog
      title={`Move ${label}`}
      verb="Move"
      isReady={to.value !== '' && to.value !== from}
      act={(signal) => askJson(modelPath(model, 'labels', label), { method: 'PUT', json: { version: to.value }, signal })}
      done={`${label} of ${model.name} is version ${to.value} now.`}
    >
      <label class="field">
        Version
        <select value={to.value} onChange={({ currentTarget }) => (to.value = currentTarget.value)}>
          {model.versions.map(({ version }) => (
            <option key={version} value={version}>
              {version}
              {version === from ? ' (now)' : ''}
            </option>
          ))}
        </select>
      </label>
      <Move label={label} from={from} to={to.value} />
    </ActionDialog>
  );
}

export function RemoveLabelDialog({ model, label }: OfLabel) {
  return (
    <ActionDialog
      title={`Take ${label} away`}
      verb="Take away"
      isDangerous
      act={(signal) => askJson(modelPath(model, 'labels', label), { method: 'DELETE', signal })}
      done={`${model.name} has no label ${label} any more.`}
    >
      <p>
        Requests that ask for <strong>{label}</strong> will be refused. It names version {model.labels[label]} now.
      </p>
    </ActionDialog>
  );
}

export function RollbackDialog({ model, label }: OfLabel) {
  return (
    <ActionDialog
      title={`Roll ${label} back`}
      verb="Roll back"
      isDangerous
      act={(signal) => askJson(modelPath(model, 'labels', label, 'rollback'), { method: 'POST', signal })}
      done={`${label} of ${model.name} was rolled back.`}
    >
      <p>
        <strong>{label}</strong> goes from version {model.labels[label]} to the version that it had before its last change, which is loaded
        first where it is not. Rolling back twice is as if nothing was.
      </p>
    </ActionDialog>
  );
}

export function LoadDialog({ model, version }: OfVersion) {
  const { live } = useApp();
  const now = live.models.value?.find(({ name }) => name === model.name)?.versions.find((each) => each.version === version);
  return (
    <ActionDialog
      title={`Load version ${version}`}
      verb="Load"
      act={(signal) => askJson(modelPath(model, 'versions', version), { method: 'PUT', signal })}
      done={`Version ${version} of ${model.name} is loaded.`}
      progress={
        <p class="soft">
          Version {version}: {now ? <State version={now} /> : 'the server has not begun'}
        </p>
      }
    >
      <p>It is loaded beside the others, warmed up and checked with its golden examples before it answers.</p>
      <p class="soft">From then on the server keeps the versions that you choose, and not the latest.</p>
    </ActionDialog>
  );
}

export function UnloadDialog({ model, version }: OfVersion) {
  const { labels = [] } = model.versions.find((each) => each.version === version) ?? {};
  return (
    <ActionDialog
      title={`Unload version ${version}`}
      verb="Unload"
      isDangerous
      // The server keeps what a label names, whatever is unloaded.
      isReady={labels.length === 0}
      act={(signal) => askJson(modelPath(model, 'versions', version), { method: 'DELETE', signal })}
      done={`Version ${version} of ${model.name} is unloaded.`}
    >
      <p>Requests under way are answered; later ones for version {version} are refused. Its files stay where they are.</p>
      {labels.length > 0 && (
        <p class="banner bad small">
          {labels.join(', ')} {labels.length === 1 ? 'names' : 'name'} this version, so that the server keeps it. Move{' '}
          {labels.length === 1 ? 'it' : 'them'} first.
        </p>
      )}
    </ActionDialog>
  );
}

/** Shares of clients by label, in percent. */
export function TrafficDialog({ model }: OfModel) {
  const labels = Object.keys(model.labels);
  const shares = useSignal<Readonly<Record<string, number>>>(
    Object.fromEntries(labels.map((label) => [label, model.traffic?.[label] ?? 0])),
  );
  const sum = Object.values(shares.value).reduce((total, each) => total + each, 0);
  const wanted = Object.fromEntries(Object.entries(shares.value).filter(([, percent]) => percent > 0));
  return (
    <ActionDialog
      title={`Shares of ${model.name}`}
      verb={Object.keys(wanted).length === 0 ? 'Take all shares away' : 'Share out'}
      isReady={sum <= 100}
      act={(signal) => askJson(modelPath(model, 'traffic'), { method: 'PUT', json: wanted, signal })}
      done={`The shares of ${model.name} are changed.`}
    >
      {labels.map((label) => {
        const set = ({ currentTarget }: { currentTarget: HTMLInputElement }) => {
          shares.value = { ...shares.value, [label]: Math.min(100, Math.max(0, currentTarget.valueAsNumber || 0)) };
        };
        return (
          <div key={label} class="field share">
            <span id={`share-of-${label}`}>
              {label} <span class="soft">version {model.labels[label]}</span>
            </span>
            <input
              type="range"
              min="0"
              max="100"
              step="1"
              value={shares.value[label]}
              aria-labelledby={`share-of-${label}`}
              onInput={set}
            />
            <input
              type="number"
              min="0"
              max="100"
              step="any"
              value={shares.value[label]}
              aria-label={`Percent of ${label}`}
              onInput={set}
            />
          </div>
        );
      })}
      <p class={sum > 100 ? 'wrong' : 'soft'} role="status">
        {sum > 100
          ? `${sum} % are shared out: at most 100.`
          : `${sum} % are shared out${sum < 100 ? `; the other ${100 - sum} % get what they get without shares` : ''}.`}
      </p>
      <p class="soft">For clients that name no version. The same client gets the same version each time.</p>
    </ActionDialog>
  );
}

function Move({ label, from, to }: { readonly label: string; readonly from: string | undefined; readonly to: string }) {
  if (label === '' || to === '' || from === to) return null;
  return (
    <p class="move">
      <span class="label">{label}</span> {from === undefined ? 'new' : `version ${from}`} → <strong>version {to}</strong>
    </p>
  );
}

import type { ModelSummary } from '../api/index.ts';
import { useApp } from '../context.ts';
import { Empty, Icon, Shares, State, Waiting } from '../parts/index.ts';
import { hrefOf } from '../route.ts';

/** All models at a glance. */
export function ModelsPage() {
  const models = useApp().live.models.value;
  return (
    <>
      <div class="title">
        <h1>Models</h1>
        {models && <p class="soft">{describe(models)}</p>}
      </div>
      {models === undefined && <Waiting what="the models" />}
      {models?.length === 0 && (
        <Empty icon="models" title="No models yet">
          <a href={hrefOf(['upload'])}>Upload a version</a>, or put one into the folder that the server watches:{' '}
          <code>nearfar publish model.onnx --name mine --out models</code>
        </Empty>
      )}
      <ul class="cards">
        {models?.map((model) => (
          <li key={model.name} class="card">
            <Card model={model} />
          </li>
        ))}
      </ul>
    </>
  );
}

function Card({ model: { name, versions, labels, traffic } }: { readonly model: ModelSummary }) {
  const broken = versions.filter(({ error, state }) => error !== undefined && state !== 'AVAILABLE');
  return (
    <>
      <h2>
        <a class="cover" href={hrefOf(['models', name])}>
          {name}
        </a>
      </h2>
      <ul class="plain versions">
        {versions.slice(0, 4).map((version) => (
          <li key={version.version}>
            <span class="number">{version.version}</span>
            <State version={version} />
            {version.labels.map((label) => (
              <span key={label} class="label">
                {label}
              </span>
            ))}
            <span class="soft end">{version.backend}</span>
          </li>
        ))}
        {versions.length > 4 && <li class="soft">and {versions.length - 4} more</li>}
      </ul>
      {traffic && <Shares traffic={traffic} labels={labels} />}
      {broken.map(({ version, error }) => (
        <p key={version} class="banner bad small">
          Version {version}: {error}
        </p>
      ))}
      <p class="row links">
        <a href={hrefOf(['models', name, 'try'])}>
          <Icon name="play" /> Try
        </a>
        {versions.length > 1 && (
          <a href={hrefOf(['models', name, 'compare'])}>
            <Icon name="compare" /> Compare
          </a>
        )}
      </p>
    </>
  );
}

function describe(models: readonly ModelSummary[]): string {
  const versions = models.flatMap((model) => model.versions);
  const available = versions.filter(({ state }) => state === 'AVAILABLE').length;
  return `${count(models.length, 'model')}, ${available} of ${count(versions.length, 'version')} available`;
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

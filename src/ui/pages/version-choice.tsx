import type { Manifest } from '../../core/index.ts';
import { askJson, type ModelSummary, pathOf, useAsked } from '../api/index.ts';
import { Empty } from '../parts/index.ts';
import { hrefOf } from '../route.ts';

interface ChoiceProps {
  readonly name: string;
  readonly model: ModelSummary;
  readonly value: string;
  readonly choose: (version: string) => void;
}

/** Which of the versions that answer. */
export function VersionChoice({ name, model, value, choose }: ChoiceProps) {
  return (
    <label class="field inline">
      {name}
      <select value={value} onChange={({ currentTarget }) => choose(currentTarget.value)}>
        {availableOf(model).map(({ version, labels }) => (
          <option key={version} value={version}>
            {[version, ...labels].join(' · ')}
          </option>
        ))}
      </select>
    </label>
  );
}

export function availableOf(model: ModelSummary | undefined) {
  return model?.versions.filter(({ state }) => state === 'AVAILABLE') ?? [];
}

export function useManifest(name: string, version: string | undefined) {
  return useAsked(
    (signal) =>
      version === undefined ? Promise.resolve(undefined) : askJson<Manifest>(pathOf('models', name, version, 'manifest.json'), { signal }),
    [name, version],
  );
}

export function ModelCrumbs({ name }: { readonly name: string }) {
  return (
    <p class="crumbs">
      <a href={hrefOf(['models'])}>Models</a> / <a href={hrefOf(['models', name])}>{name}</a>
    </p>
  );
}

export function NoVersion({ name }: { readonly name: string }) {
  return (
    <Empty icon="play" title={`No version of ${name} answers now`}>
      <a href={hrefOf(['models', name])}>See why</a>, or load one.
    </Empty>
  );
}

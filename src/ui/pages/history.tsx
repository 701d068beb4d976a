import { useSignal } from '@preact/signals';
import { askJson, type HistoryEntry, useAsked } from '../api/index.ts';
import { useApp } from '../context.ts';
import { Empty, Failure, formatAgo, formatMoment, shortDigest, Waiting } from '../parts/index.ts';
import { hrefOf } from '../route.ts';

const pageLength = 50;

/** Who changed what. */
export function HistoryPage() {
  const { live, route } = useApp();
  const model = route.value.query.get('model') ?? undefined;
  return (
    <>
      <div class="title">
        <h1>History</h1>
        <label class="field inline">
          Model
          <select
            value={model ?? ''}
            onChange={({ currentTarget }) => {
              location.hash = hrefOf(['history'], { model: currentTarget.value || undefined });
            }}
          >
            <option value="">all</option>
            {live.models.value?.map(({ name }) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </label>
      </div>
      <HistoryList key={model} model={model} limit={pageLength} hasMore />
    </>
  );
}

interface ListProps {
  readonly model: string | undefined;
  readonly limit: number;
  /** Whether older entries can be asked for. */
  readonly hasMore?: boolean;
}

export function HistoryList({ model, limit, hasMore = false }: ListProps) {
  const { live } = useApp();
  const pages = useSignal(1);
  const count = limit * pages.value;
  const [{ value: entries, error, isWaiting }, again] = useAsked(
    async (signal) => {
      const query = new URLSearchParams({ limit: String(Math.min(1000, count)), ...(model !== undefined && { model }) });
      return (await askJson<{ entries: HistoryEntry[] }>(`/nearfar/v1/history?${query}`, { signal })).entries;
    },
    [model, count, live.changes.value],
  );
  if (error) return <Failure error={error} retry={again} />;
  if (!entries) return <Waiting what="the history" />;
  if (entries.length === 0) {
    return (
      <Empty icon="history" title="Nothing was changed yet">
        Promote a version, move a label or load one: each change is written down here, with who made it.
      </Empty>
    );
  }
  return (
    <>
      <ol class="plain log">
        {entries.map((entry) => (
          <li key={entry.id}>
            <Entry entry={entry} isOfOne={model !== undefined} />
          </li>
        ))}
      </ol>
      {hasMore && entries.length === count && (
        <p class="row">
          <button type="button" disabled={isWaiting} onClick={() => (pages.value += 1)}>
            Older changes
          </button>
        </p>
      )}
    </>
  );
}

function Entry({ entry, isOfOne }: { readonly entry: HistoryEntry; readonly isOfOne: boolean }) {
  const { at, who, way, action, model, version, from, to, outcome, message } = entry;
  return (
    <>
      <span class="state" data-kind={outcome === 'done' ? 'good' : 'bad'}>
        {outcome}
      </span>
      <div>
        <p>
          <strong>{action}</strong> {!isOfOne && <a href={hrefOf(['models', model])}>{model}</a>} {version && `version ${version}`}
        </p>
        {changesOf(from, to).map(({ path, was, is }) => (
          <p key={path} class="change small">
            <span class="soft">{path}</span> {was} → <strong>{is}</strong>
          </p>
        ))}
        {message && <p class={outcome === 'done' ? 'soft small' : 'wrong small'}>{message}</p>}
      </div>
      <p class="soft small by">
        <time dateTime={at} title={formatMoment(at)}>
          {formatAgo(at, Date.now())}
        </time>
        <br />
        {who} <span>{way}</span>
      </p>
    </>
  );
}

interface Difference {
  readonly path: string;
  readonly was: string;
  readonly is: string;
}

/** What differs between two settings, value by value. */
function changesOf(from: unknown, to: unknown, path: readonly string[] = []): readonly Difference[] {
  if (isRecord(from) || isRecord(to)) {
    const [was, is] = [isRecord(from) ? from : {}, isRecord(to) ? to : {}];
    return [...new Set([...Object.keys(was), ...Object.keys(is)])].flatMap((key) => changesOf(was[key], is[key], [...path, key]));
  }
  const [was, is] = [textOf(from), textOf(to)];
  return was === is ? [] : [{ path: path.join(' › '), was, is }];
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function textOf(value: unknown): string {
  if (value === undefined) return 'none';
  if (typeof value !== 'string') return JSON.stringify(value);
  return value.startsWith('sha256:') ? shortDigest(value) : value;
}

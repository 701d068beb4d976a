import { useSignal } from '@preact/signals';
import { askJson, type FailureEntry, useAsked } from '../api/index.ts';
import { useApp } from '../context.ts';
import { Empty, Failure, formatAgo, formatMoment, Waiting } from '../parts/index.ts';
import { hrefOf } from '../route.ts';

const pageLength = 50;

/** Requests and loads that failed. */
export function FailuresPage() {
  const model = useApp().route.value.query.get('model') ?? undefined;
  return (
    <>
      <div class="title">
        <h1>Failures</h1>
        <p class="soft">Since the server began, without what was sent</p>
      </div>
      <FailureList model={model} limit={pageLength} hasMore />
    </>
  );
}

interface ListProps {
  readonly model: string | undefined;
  readonly limit: number;
  readonly hasMore?: boolean;
}

export function FailureList({ model, limit, hasMore = false }: ListProps) {
  const { live } = useApp();
  const pages = useSignal(1);
  const count = limit * pages.value;
  const [{ value: failures, error }, again] = useAsked(
    async (signal) => {
      const query = new URLSearchParams({ limit: String(Math.min(1000, count)), ...(model !== undefined && { model }) });
      return (await askJson<{ failures: FailureEntry[] }>(`/nearfar/v1/failures?${query}`, { signal })).failures;
    },
    [model, count, live.failures.value],
  );
  if (error) return <Failure error={error} retry={again} />;
  if (!failures) return <Waiting what="the failures" />;
  if (failures.length === 0) {
    return (
      <Empty icon="failures" title="Nothing has failed">
        A request or a load that fails is listed here with its reason.
      </Empty>
    );
  }
  return (
    <>
      <ol class="plain log">
        {failures.map((failure) => (
          <li key={failure.id}>
            <Entry failure={failure} isOfOne={model !== undefined} />
          </li>
        ))}
      </ol>
      {hasMore && failures.length === count && (
        <p class="row">
          <button type="button" onClick={() => (pages.value += 1)}>
            Older failures
          </button>
        </p>
      )}
    </>
  );
}

function Entry({ failure, isOfOne }: { readonly failure: FailureEntry; readonly isOfOne: boolean }) {
  const { kind, model, version, signature, api, code, message, lastTime, count, traceId } = failure;
  return (
    <>
      <span class="state" data-kind="bad">
        {kind}
      </span>
      <div>
        <p>
          <code class="wrong">{code}</code> {!isOfOne && model && <a href={hrefOf(['models', model])}>{model}</a>}{' '}
          {version && `version ${version}`} <span class="soft">{[api, signature].filter(Boolean).join(' · ')}</span>
        </p>
        <p class="small">{message}</p>
        {traceId && (
          <p class="soft small">
            trace <code>{traceId}</code>
          </p>
        )}
      </div>
      <p class="soft small by">
        <time dateTime={lastTime} title={formatMoment(lastTime)}>
          {formatAgo(lastTime, Date.now())}
        </time>
        {count > 1 && (
          <>
            <br />
            {count} times
          </>
        )}
      </p>
    </>
  );
}

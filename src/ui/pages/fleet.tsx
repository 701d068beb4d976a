import { askJson, type ReportRow, useAsked } from '../api/index.ts';
import { useApp } from '../context.ts';
import { Empty, Failure, formatCount, formatMs, formatShare, Waiting } from '../parts/index.ts';
import { hrefOf } from '../route.ts';

/** What the browsers report of their calls: how much is near, what fell back and why, how long it took. */
export function FleetPage() {
  const { live } = useApp();
  const [{ value: rows, error }, again] = useAsked(
    async (signal) => (await askJson<{ rows: ReportRow[] }>('/nearfar/v1/reports', { signal })).rows,
    [live.models.value],
  );
  return (
    <>
      <div class="title">
        <h1>Fleet</h1>
        <p class="soft">What clients report of their calls since the server began</p>
      </div>
      {error && <Failure error={error} retry={again} />}
      {!rows && !error && <Waiting what="the reports" />}
      {rows?.length === 0 && (
        <Empty icon="fleet" title="No client has reported yet">
          Applications report by choice: <code>createReporter(client)</code> of <code>nearfar/reporter</code> sends a sample of their calls
          here, without inputs or answers.
        </Empty>
      )}
      {rows && rows.length > 0 && <Content rows={rows} />}
    </>
  );
}

function Content({ rows }: { readonly rows: readonly ReportRow[] }) {
  const runs = rows.reduce((sum, row) => sum + row.runs, 0);
  const near = rows.reduce((sum, row) => sum + row.runs * row.nearShare, 0);
  const fallbacks = new Map<string, number>();
  for (const row of rows)
    for (const [code, count] of Object.entries(row.fallbacks)) fallbacks.set(code, (fallbacks.get(code) ?? 0) + count);
  const sorted = [...fallbacks].sort(([, a], [, b]) => b - a);
  const most = sorted[0]?.[1] ?? 1;
  return (
    <>
      <dl class="numbers">
        <div>
          <dt>Calls</dt>
          <dd>{formatCount(runs)}</dd>
        </div>
        <div>
          <dt>Near</dt>
          <dd class="near">{formatShare(near / runs)}</dd>
        </div>
        <div>
          <dt>Far</dt>
          <dd class="far">{formatShare(1 - near / runs)}</dd>
        </div>
        <div>
          <dt>Fallbacks</dt>
          <dd>{formatCount(sorted.reduce((sum, [, count]) => sum + count, 0))}</dd>
        </div>
      </dl>
      <section aria-labelledby="by-version">
        <h2 id="by-version">By version and device</h2>
        <table class="stacking">
          <thead>
            <tr>
              <th>Version</th>
              <th>Device</th>
              <th class="right">Calls</th>
              <th>Near and far</th>
              <th class="right">Near, p50 / p95</th>
              <th class="right">Far, p50 / p95</th>
              <th class="right">Fallbacks</th>
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <Row key={`${row.model} ${row.version} ${row.device}`} row={row} />
            ))}
          </tbody>
        </table>
      </section>
      <section aria-labelledby="reasons">
        <h2 id="reasons">Why calls fell back</h2>
        {sorted.length === 0 && <p class="soft">None did.</p>}
        <ul class="plain bars">
          {sorted.map(([code, count]) => (
            <li key={code}>
              <code>{code}</code>
              <meter min="0" max={most} value={count} aria-label={`${code}: ${count}`} />
              <span class="right">{formatCount(count)}</span>
            </li>
          ))}
        </ul>
      </section>
    </>
  );
}

function Row({ row: { model, version, device, runs, nearShare, latencyMs, fallbacks } }: { readonly row: ReportRow }) {
  const near = latencyMs['on-device'];
  const far = latencyMs.server;
  return (
    <tr>
      <th scope="row">{version === '' ? model : <a href={hrefOf(['models', model, 'versions', version])}>{`${model} ${version}`}</a>}</th>
      <td data-name="Device">{device}</td>
      <td data-name="Calls" class="right">
        {formatCount(runs)}
      </td>
      <td data-name="Near and far">
        <svg class="share-bar" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label={`${formatShare(nearShare)} near`}>
          <rect class="fill-near" width={nearShare * 100} height="8" />
          <rect class="fill-far" x={nearShare * 100} width={100 - nearShare * 100} height="8" />
        </svg>
        <span class="soft small">{formatShare(nearShare)} near</span>
      </td>
      <td data-name="Near, p50 / p95" class="right">
        {near ? `${formatMs(near.p50)} / ${formatMs(near.p95)}` : '–'}
      </td>
      <td data-name="Far, p50 / p95" class="right">
        {far ? `${formatMs(far.p50)} / ${formatMs(far.p95)}` : '–'}
      </td>
      <td data-name="Fallbacks" class="right">
        {formatCount(Object.values(fallbacks).reduce((sum, count) => sum + count, 0))}
      </td>
    </tr>
  );
}

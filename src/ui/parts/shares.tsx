/** Shares of clients by label as a bar, with the rest that gets what it gets without shares. */
export function Shares({
  traffic,
  labels,
}: {
  readonly traffic: Readonly<Record<string, number>>;
  readonly labels: Readonly<Record<string, string>>;
}) {
  const shares = Object.entries(traffic).filter(([, percent]) => percent > 0);
  const rest = Math.max(0, 100 - shares.reduce((sum, [, percent]) => sum + percent, 0));
  return (
    <div class="shares">
      <svg class="share-bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
        {shares.map(([label, percent], index) => {
          const before = shares.slice(0, index).reduce((sum, [, each]) => sum + each, 0);
          return <rect key={label} class={`fill-${index % 5}`} x={before} y="0" width={Math.max(0, percent - 0.6)} height="8" />;
        })}
        {rest > 0 && <rect class="fill-rest" x={100 - rest} y="0" width={rest} height="8" />}
      </svg>
      <ul class="legend">
        {shares.map(([label, percent], index) => (
          <li key={label}>
            <span class={`key fill-${index % 5}`} aria-hidden="true" />
            {percent} % <strong>{label}</strong> <span class="soft">version {labels[label] ?? '?'}</span>
          </li>
        ))}
        {rest > 0 && <li class="soft">{Number(rest.toFixed(4))} % as without shares</li>}
      </ul>
    </div>
  );
}

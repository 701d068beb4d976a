import { useSignal, useSignalEffect } from '@preact/signals';
import { useMemo } from 'preact/hooks';
import { askJson, type ChartPoint, useAsked } from '../api/index.ts';
import { useApp } from '../context.ts';
import { Chart, Failure, formatBytes, formatCount, formatMs, formatNumber, Waiting } from '../parts/index.ts';

interface ChartsProps {
  readonly model?: string | undefined;
  readonly version?: string | undefined;
}

const minutesShown = 15;

/** How the server, a model or a version fares, as it does. */
export function Charts({ model, version }: ChartsProps) {
  const { live } = useApp();
  const added = useSignal<readonly ChartPoint[]>([]);
  const [{ value: asked, error }, again] = useAsked(
    (signal) => {
      const query = new URLSearchParams({ minutes: String(minutesShown), ...(model && { model }), ...(version && { version }) });
      return askJson<{ stepMs: number; points: ChartPoint[] }>(`/nearfar/v1/charts?${query}`, { signal });
    },
    [model, version],
  );
  useSignalEffect(() => {
    const newest = live.points.value.find((each) => each.model === model && each.version === version)?.point;
    if (newest && newest.time !== added.peek().at(-1)?.time) added.value = [...added.peek(), newest];
  });
  const newPoints = added.value;
  const lines = useMemo(() => (asked ? linesOf(join(asked.points, newPoints), asked.stepMs) : undefined), [asked, newPoints]);
  if (error) return <Failure error={error} retry={again} />;
  if (!lines) return <Waiting what="the charts" />;
  const { times, rates, latencies, batches, memory } = lines;
  if (times.length === 0)
    return <p class="soft">Nothing was asked yet. Charts begin with the first request and grow every five seconds.</p>;
  return (
    <div class="charts">
      <Chart title="Requests per second" times={times} lines={rates} format={formatNumber} />
      <Chart title="Latency" times={times} lines={latencies} format={formatMs} />
      <Chart title="Rows in a batch" times={times} lines={batches} format={formatNumber} />
      <Chart title="Server: memory" times={times} lines={memory.slice(0, 1)} format={formatBytes} />
      <Chart title="Server: requests in flight" times={times} lines={memory.slice(1)} format={formatCount} />
    </div>
  );
}

/** What was asked for, and behind it what came since. */
function join(asked: readonly ChartPoint[], added: readonly ChartPoint[]): readonly ChartPoint[] {
  const last = asked.at(-1)?.time ?? '';
  return [...asked, ...added.filter(({ time }) => time > last)].slice(-(minutesShown * 12));
}

function linesOf(points: readonly ChartPoint[], stepMs: number) {
  const perSecond = (count: number) => (count * 1000) / stepMs;
  return {
    times: points.map(({ time }) => new Date(time).getTime() / 1000),
    rates: [
      { name: 'requests', colour: 'far', isArea: true, values: points.map(({ requests }) => perSecond(requests)) },
      { name: 'refused', colour: 'busy', values: points.map(({ refused }) => perSecond(refused)) },
      { name: 'errors', colour: 'bad', values: points.map(({ errors }) => perSecond(errors)) },
    ],
    latencies: [
      { name: 'p50', colour: 'near', values: points.map(({ latencyP50Ms }) => latencyP50Ms) },
      { name: 'p99', colour: 'far', values: points.map(({ latencyP99Ms }) => latencyP99Ms) },
      { name: 'in the queue', colour: 'busy', values: points.map(({ queueMs }) => queueMs) },
    ],
    batches: [{ name: 'rows', colour: 'near', values: points.map(({ batchSize }) => batchSize) }],
    memory: [
      { name: 'resident', colour: 'far', isArea: true, values: points.map(({ memoryBytes }) => memoryBytes) },
      { name: 'in flight', colour: 'far', values: points.map(({ inFlight }) => inFlight) },
    ],
  };
}

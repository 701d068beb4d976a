import { errorStatuses, type NearfarErrorCode } from '../../core/index.ts';
import type { RequestObserver, RequestRecord } from '../request-record.ts';

/** What happened in one step of time. Times are in milliseconds; null where nothing was answered. */
export interface ChartPoint {
  /** Its beginning: ISO 8601, in UTC. */
  readonly time: string;
  readonly requests: number;
  /** Those that failed by the server's fault. */
  readonly errors: number;
  /** Those that the server refused, or could not understand. */
  readonly refused: number;
  readonly latencyP50Ms: number | null;
  readonly latencyP99Ms: number | null;
  /** Mean time in a queue. */
  readonly queueMs: number | null;
  /** Mean rows of the batches that requests ran in. */
  readonly batchSize: number | null;
  /** Requests that were taken and not answered at the end of the step; of the whole server. */
  readonly inFlight: number;
  /** Resident memory of the process at the end of the step. */
  readonly memoryBytes: number;
}

export interface ChartsOptions {
  /** Called at the end of each step. */
  readonly sample: () => Pick<ChartPoint, 'inFlight' | 'memoryBytes'>;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** @default chartStepMs */
  readonly stepMs?: number | undefined;
}

export const chartStepMs = 5_000;
/** An hour. */
const mostPoints = 720;
/** Charts of more versions than a server has are of versions that are gone. */
const mostCharts = 1_000;

/** Latencies within a twelfth: each bound is a fifth above the one before. */
const leastMs = 0.05;
const growth = 1.2;
const bounds = 90;
const logGrowth = Math.log(growth);

/** Whether a request failed by the server's fault: neither by what was sent, nor because there is no place for it now. */
export function isServerFault(code: NearfarErrorCode): boolean {
  return errorStatuses[code].http >= 500 && code !== 'unsupported' && code !== 'overloaded';
}

/** What is counted until a step ends. */
class Step {
  requests = 0;
  errors = 0;
  refused = 0;
  queueMs = 0;
  rows = 0;
  timed = 0;
  readonly #latencies = new Uint32Array(bounds + 1);

  add({ errorCode, durationMs, servable }: RequestRecord): void {
    this.requests++;
    if (errorCode !== undefined) {
      if (isServerFault(errorCode)) this.errors++;
      else this.refused++;
      return;
    }
    const bound = durationMs <= leastMs ? 0 : Math.min(bounds, Math.ceil(Math.log(durationMs / leastMs) / logGrowth));
    this.#latencies[bound]!++;
    const { timing } = servable ?? {};
    if (!timing) return;
    this.timed++;
    this.queueMs += timing.queueMs;
    this.rows += timing.batchSize ?? servable?.rows ?? 1;
  }

  /** The upper bound of the latency that so many of the answers did not exceed. */
  quantile(share: number): number | null {
    const answered = this.requests - this.errors - this.refused;
    if (answered === 0) return null;
    let left = Math.ceil(answered * share);
    const bound = this.#latencies.findIndex((count) => {
      left -= count;
      return left <= 0;
    });
    return leastMs * growth ** bound;
  }
}

interface Chart {
  step: Step;
  readonly points: ChartPoint[];
}

/** Requests, errors and latencies of the last hour: of the server, of each model and of each version, in steps of five seconds. */
export class Charts implements RequestObserver, Disposable {
  readonly #options: ChartsOptions;
  readonly #charts = new Map<string, Chart>();
  #timer: NodeJS.Timeout | undefined;
  readonly #listeners = new Set<() => void>();
  #stepAt: number;
  /** Most requests are about the version of the one before. */
  #last: { readonly model: string; readonly version: string; readonly charts: readonly Chart[] } | undefined;

  constructor(options: ChartsOptions) {
    this.#options = options;
    this.#stepAt = options.now();
    this.#chart('', '');
  }

  /** From here on steps end by themselves. */
  start(): void {
    this.#timer = setInterval(() => this.endStep(), this.#options.stepMs ?? chartStepMs);
    this.#timer.unref();
  }

  recordRequest(record: RequestRecord): void {
    if (record.kind !== 'prediction') return;
    const { model } = record;
    const version = record.servable?.version ?? '';
    if (this.#last?.model !== model || this.#last.version !== version) this.#last = { model, version, charts: this.#chartsOf(record) };
    for (const { step } of this.#last.charts) step.add(record);
  }

  /** @param about A model, one of its versions, or neither: the whole server. Oldest first. */
  points({
    model = '',
    version = '',
  }: {
    readonly model?: string | undefined;
    readonly version?: string | undefined;
  } = {}): readonly ChartPoint[] {
    return this.#charts.get(keyOf(model, version))?.points ?? [];
  }

  /** The newest point of every chart; no model and no version stand for the whole server. */
  newest(): readonly { readonly model?: string; readonly version?: string; readonly point: ChartPoint }[] {
    return [...this.#charts].flatMap(([key, { points }]) => {
      const [model = '', version] = key.split('\n');
      const point = points.at(-1);
      return point ? [{ ...(model !== '' && { model }), ...(version !== undefined && { version }), point }] : [];
    });
  }

  /** Calls back at the end of each step; disposing what it returns stops that. */
  watch(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) };
  }

  endStep(): void {
    const time = new Date(this.#stepAt).toISOString();
    const sample = this.#options.sample();
    this.#stepAt = this.#options.now();
    for (const [key, chart] of this.#charts) {
      chart.points.push(pointOf(time, chart.step, sample));
      if (chart.points.length > mostPoints) chart.points.shift();
      chart.step = new Step();
      // A version nobody asks for in an hour has an empty chart, as one that was never asked for.
      if (key !== '' && chart.points.every(({ requests }) => requests === 0)) this.#charts.delete(key);
    }
    this.#last = undefined;
    for (const listener of this.#listeners) listener();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  /** A client can ask for any name: only versions that the server has get charts of their own. */
  #chartsOf({ model, servable }: RequestRecord): readonly Chart[] {
    const all = this.#chart('', '');
    return servable ? [all, this.#chart(model, ''), this.#chart(model, servable.version)] : [all];
  }

  #chart(model: string, version: string): Chart {
    const key = keyOf(model, version);
    const known = this.#charts.get(key);
    if (known) return known;
    const chart: Chart = { step: new Step(), points: [] };
    const [oldest] = [...this.#charts.keys()].filter((each) => each !== '');
    if (this.#charts.size >= mostCharts && oldest !== undefined) this.#charts.delete(oldest);
    this.#charts.set(key, chart);
    return chart;
  }
}

function keyOf(model: string, version: string): string {
  return version === '' ? model : `${model}\n${version}`;
}

function pointOf(time: string, step: Step, sample: Pick<ChartPoint, 'inFlight' | 'memoryBytes'>): ChartPoint {
  const { requests, errors, refused, timed } = step;
  return {
    time,
    requests,
    errors,
    refused,
    latencyP50Ms: step.quantile(0.5),
    latencyP99Ms: step.quantile(0.99),
    queueMs: timed === 0 ? null : step.queueMs / timed,
    batchSize: timed === 0 ? null : step.rows / timed,
    ...sample,
  };
}

import type { Registry } from 'prom-client';
import * as v from 'valibot';
import { type ClientReport, errorStatuses, type Leg, NearfarError, type NearfarErrorCode } from '../core/index.ts';
import { SeriesCounter, SeriesHistogram } from './series.ts';

/** What clients told of one version on one class of devices. */
export interface ClientReportRow {
  readonly model: string;
  readonly version: string;
  readonly device: ClientReport['device'];
  readonly runs: number;
  /** Share of the calls that were answered on the device, 0 to 1. */
  readonly nearShare: number;
  /** How often, by the code of the reason. */
  readonly fallbacks: Readonly<Record<string, number>>;
  /** Milliseconds, to the next of the histogram's bounds; only for legs that answered. */
  readonly latencyMs: Readonly<Partial<Record<Leg, { readonly p50: number; readonly p95: number }>>>;
}

export interface ClientReportsOptions {
  readonly registry: Registry;
  /** Whether the server has a version of this model: reports of others are counted under `(unknown)`. */
  readonly isKnown: (model: string, version: string) => boolean;
}

const mostReports = 100;
/** Rows that are kept: clients may name what they like. */
const mostRows = 1_000;
/** Milliseconds; the last is 66 s. */
const bounds = Array.from({ length: 29 }, (_, index) => Math.round(1.5 ** index * 0.8 * 10) / 10);

const codes = Object.keys(errorStatuses) as [NearfarErrorCode, ...NearfarErrorCode[]];

const bodySchema = v.object({
  reports: v.pipe(
    v.array(
      v.object({
        model: v.pipe(v.string(), v.minLength(1), v.maxLength(256)),
        version: v.pipe(v.string(), v.regex(/^[1-9]\d{0,18}$/)),
        device: v.picklist(['mobile', 'desktop']),
        leg: v.picklist(['on-device', 'server']),
        backend: v.pipe(v.string(), v.regex(/^[a-z]{1,16}-[a-z]{1,16}$/)),
        fallback: v.optional(v.picklist(codes)),
        totalMs: v.pipe(v.number(), v.minValue(0), v.maxValue(3_600_000)),
      }),
    ),
    v.maxLength(mostReports),
  ),
});

interface Counts {
  readonly model: string;
  readonly version: string;
  readonly device: ClientReport['device'];
  readonly fallbacks: Map<NearfarErrorCode, number>;
  readonly latencies: Record<Leg, number[]>;
}

/** Gathers what the reporters of clients send, in memory: since the server began, of versions that it has. */
export class ClientReports {
  readonly #isKnown: ClientReportsOptions['isKnown'];
  readonly #rows = new Map<string, Counts>();
  readonly #runs: SeriesCounter;
  readonly #fallbacks: SeriesCounter;
  readonly #seconds: SeriesHistogram;

  constructor({ registry, isKnown }: ClientReportsOptions) {
    this.#isKnown = isKnown;
    this.#runs = new SeriesCounter({ name: 'nearfar_client_runs_total', help: 'Calls that clients reported, a sample of them.', registry });
    this.#fallbacks = new SeriesCounter({
      name: 'nearfar_client_fallbacks_total',
      help: 'Reported calls whose answer did not come from the preferred leg or backend.',
      registry,
    });
    this.#seconds = new SeriesHistogram({
      name: 'nearfar_client_run_seconds',
      help: 'Time of reported calls, as clients measured it.',
      bounds: bounds.map((ms) => ms / 1000),
      registry,
    });
  }

  /**
   * Takes the body of a report.
   * @throws {NearfarError} `invalid-argument`.
   */
  record(body: Uint8Array): void {
    for (const report of parse(body)) this.#count(report);
  }

  rows(): readonly ClientReportRow[] {
    return [...this.#rows.values()].map(toRow).sort((a, b) => b.runs - a.runs);
  }

  #count({ model, version, device, leg, backend, fallback, totalMs }: ClientReport): void {
    const isKnown = this.#isKnown(model, version);
    const labels = { model: isKnown ? model : '(unknown)', version: isKnown ? version : '', device };
    const row = this.#rowOf(labels);
    if (!row) return;
    const bucket = bounds.findIndex((bound) => totalMs <= bound);
    const latencies = row.latencies[leg];
    latencies[bucket === -1 ? bounds.length : bucket]! += 1; // inside: there is one more count than bounds
    this.#runs.series({ ...labels, leg, backend: isKnown ? backend : '' }).add();
    this.#seconds.series({ ...labels, leg }).observe(totalMs / 1000);
    if (fallback === undefined) return;
    row.fallbacks.set(fallback, (row.fallbacks.get(fallback) ?? 0) + 1);
    this.#fallbacks.series({ ...labels, leg, code: fallback }).add();
  }

  #rowOf(labels: Pick<Counts, 'model' | 'version' | 'device'>): Counts | undefined {
    const key = JSON.stringify(labels);
    const known = this.#rows.get(key);
    if (known || this.#rows.size >= mostRows) return known;
    const none = () => new Array<number>(bounds.length + 1).fill(0);
    const row: Counts = { ...labels, fallbacks: new Map(), latencies: { 'on-device': none(), server: none() } };
    this.#rows.set(key, row);
    return row;
  }
}

function parse(body: Uint8Array): readonly ClientReport[] {
  try {
    const { reports } = v.parse(bodySchema, JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body)));
    return reports.map(({ fallback, ...report }) => ({ ...report, ...(fallback && { fallback }) }));
  } catch (cause) {
    const where = cause instanceof v.ValiError ? `${v.getDotPath(cause.issues[0]) ?? 'the body'}: ` : '';
    throw new NearfarError('invalid-argument', `no reports of calls: ${where}${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

function toRow({ model, version, device, fallbacks, latencies }: Counts): ClientReportRow {
  const count = (leg: Leg) => latencies[leg].reduce((sum, each) => sum + each, 0);
  const near = count('on-device');
  const runs = near + count('server');
  const latencyMs: Partial<Record<Leg, { p50: number; p95: number }>> = {};
  for (const leg of ['on-device', 'server'] as const) {
    if (count(leg) > 0) latencyMs[leg] = { p50: quantile(latencies[leg], 0.5), p95: quantile(latencies[leg], 0.95) };
  }
  return { model, version, device, runs, nearShare: near / runs, fallbacks: Object.fromEntries(fallbacks), latencyMs };
}

/** The bound below which this share of the calls lies; the last bound where they lie above it. */
function quantile(counts: readonly number[], share: number): number {
  let left = share * counts.reduce((sum, each) => sum + each, 0);
  const index = counts.findIndex((count) => {
    left -= count;
    return left <= 0;
  });
  return bounds[Math.min(index, bounds.length - 1)] ?? 0;
}

import * as v from 'valibot';
import { askServer } from '../ask-server.ts';

const nullable = v.nullable(v.number());
const chartsSchema = v.object({
  stepMs: v.number(),
  points: v.array(v.object({ requests: v.number(), latencyP50Ms: nullable, latencyP99Ms: nullable, queueMs: nullable })),
});
const reportsSchema = v.object({
  rows: v.array(v.object({ model: v.string(), device: v.picklist(['mobile', 'desktop']), runs: v.number(), nearShare: v.number() })),
});

/** What a running server saw in the last hour, and what clients reported to it. */
export interface Observed {
  /** Requests a second: the most within a minute. */
  readonly peakPerSecond: number;
  readonly p99Ms: number | undefined;
  /** Latency without the time in queues, the median of the steps. */
  readonly serviceMs: number | undefined;
  /** By class of devices, of those that report. */
  readonly devices: readonly { readonly name: string; readonly runs: number; readonly nearShare: number }[];
}

/** @throws {NearfarError} `network`; what the server refuses it with. */
export async function observe(url: string, model: string | undefined, signal: AbortSignal): Promise<Observed> {
  const query = new URLSearchParams({ minutes: '60', ...(model !== undefined && { model }) });
  const { stepMs, points } = await askServer({ url, path: `charts?${query}`, answer: chartsSchema, signal });
  const { rows: reports } = await askServer({ url, path: 'reports', answer: reportsSchema, signal });
  const perMinute = Math.max(1, Math.round(60_000 / stepMs));
  const services = points.flatMap(({ latencyP50Ms, queueMs }) =>
    latencyP50Ms === null ? [] : [Math.max(0.01, latencyP50Ms - (queueMs ?? 0))],
  );
  const slowest = points.flatMap(({ latencyP99Ms }) => latencyP99Ms ?? []);
  const own = reports.filter((report) => model === undefined || report.model === model);
  return {
    peakPerSecond: Math.max(0, ...points.map((_, index) => ratePerSecond(points.slice(index, index + perMinute), stepMs))),
    p99Ms: slowest.length > 0 ? Math.max(...slowest) : undefined,
    serviceMs: services.sort((a, b) => a - b)[services.length >> 1],
    devices: [...new Set(own.map(({ device }) => device))].map((device) => {
      const rows = own.filter((row) => row.device === device);
      const runs = rows.reduce((sum, row) => sum + row.runs, 0);
      return { name: device, runs, nearShare: rows.reduce((sum, row) => sum + row.runs * row.nearShare, 0) / Math.max(1, runs) };
    }),
  };
}

function ratePerSecond(points: readonly { readonly requests: number }[], stepMs: number): number {
  return points.reduce((sum, { requests }) => sum + requests, 0) / ((points.length * stepMs) / 1000);
}

import type { FastifyInstance } from 'fastify';
import { clientReportsPath, NearfarError } from '../../../core/index.ts';
import type { ClientReportRow } from '../../client-reports.ts';
import type { RestContext } from '../context.ts';
import { bodyBytes } from './rest-call.ts';

/** A hundred reports with long names. */
const bodyLimitBytes = 64 * 1024;

/** Takes the reports of clients, and shows what they said: as JSON, or as a table to a browser. */
export function addClientReports(app: FastifyInstance, { clientReports: reports, corsAllowedOrigins }: RestContext): void {
  if (!reports) return;
  app.post(clientReportsPath, { bodyLimit: bodyLimitBytes }, async (request, reply) => {
    const { origin, host } = request.headers;
    // Text needs no preflight, so that the page of any origin gets here; a page that may not ask for predictions may not report either.
    const isAllowed = origin === undefined || corsAllowedOrigins.includes('*') || corsAllowedOrigins.includes(origin);
    if (!isAllowed && !(URL.canParse(origin) && new URL(origin).host === host)) {
      throw new NearfarError('permission-denied', `pages of ${origin} may not report to this server (--cors_allowed_origins)`);
    }
    reports.record(bodyBytes(request));
    return reply.code(204).send();
  });
  app.get(clientReportsPath, async (request, reply) => {
    const rows = reports.rows();
    reply.header('cache-control', 'no-store').header('vary', 'Accept');
    if (!request.headers.accept?.includes('text/html')) return { rows };
    return reply
      .header('content-type', 'text/html; charset=utf-8')
      .header('content-security-policy', "default-src 'none'; style-src 'unsafe-inline'")
      .send(pageOf(rows));
  });
}

function pageOf(rows: readonly ClientReportRow[]): string {
  const head = ['Model', 'Version', 'Device', 'Calls', 'On the device', 'Fallbacks', 'Near, ms (p50 / p95)', 'Far, ms (p50 / p95)'];
  const cells = ({ model, version, device, runs, nearShare, fallbacks, latencyMs }: ClientReportRow) => [
    model,
    version,
    device,
    String(runs),
    `${(nearShare * 100).toFixed(1)} %`,
    Object.entries(fallbacks)
      .map(([code, count]) => `${code} ${count}`)
      .join(', '),
    ...(['on-device', 'server'] as const).map((leg) => (latencyMs[leg] ? `${latencyMs[leg].p50} / ${latencyMs[leg].p95}` : '')),
  ];
  const line = (tag: 'td' | 'th', texts: readonly string[]) =>
    `<tr>${texts.map((text) => `<${tag}>${escapeHtml(text)}</${tag}>`).join('')}</tr>`;
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Calls that clients reported</title>
<style>body { font: 1rem system-ui; margin: 2rem } td, th { padding: .25rem .75rem; text-align: left; border-bottom: 1px solid #ccc }</style>
<h1>Calls that clients reported</h1>
<p>A sample, since this server began.</p>
<table>
${[line('th', head), ...rows.map((row) => line('td', cells(row)))].join('\n')}
</table>
</html>
`;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}

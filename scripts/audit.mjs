// Known vulnerabilities of what users install with the package. Where no registry answers that is said, and is no failure: CI elsewhere asks it.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const { stdout, status, error } = spawnSync('npm', ['audit', '--omit=dev', '--json'], { cwd: root, encoding: 'utf8', timeout: 60_000 });
const report = parse(stdout ?? '');
const counts = report?.metadata?.vulnerabilities;
if (!counts) {
  console.log(`not audited, the registry could not be asked: ${report?.message ?? error?.message ?? `npm ended with ${status}`}`);
} else {
  const { total = 0, high = 0, critical = 0 } = counts;
  console.log(`${total} known vulnerabilities, ${high} high, ${critical} critical`);
  for (const [name, { severity, range }] of Object.entries(report.vulnerabilities ?? {})) console.log(`${severity}: ${name} ${range}`);
  process.exitCode = high + critical > 0 ? 1 : 0;
}

/**
 * @param {string} text
 * @returns {{ message?: string, metadata?: { vulnerabilities?: Record<string, number> }, vulnerabilities?: Record<string, { severity: string, range: string }> } | undefined}
 */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
